"""A case: one thing to try, which can be tried again from its text alone.

powerloss rebuild 17            the campaign, and what it wants to know
"""

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

MEMORY = Path("/dev/shm")
"""Where files lie that no disk needs to see, if there is room."""
ROOM_BYTES = 1 << 30


@dataclass
class Result:
    """What came of a case: how much was tried, by name, and the defects that were found."""

    tried: Counter[str] = field(default_factory=Counter)
    reached: dict[str, set[str]] = field(default_factory=dict)
    """Different things of a kind that were met: how many counts."""
    found: list[str] = field(default_factory=list)

    def add(self, other: "Result") -> None:
        """Add up."""
        self.tried += other.tried
        self.found += other.found
        for kind, names in other.reached.items():
            self.reached.setdefault(kind, set()).update(names)

    def number(self, what: str) -> int:
        """How much of it was tried."""
        return len(self.reached[what]) if what in self.reached else self.tried[what]


@dataclass(frozen=True)
class Campaign:
    """A kind of case. `cases` yields texts (without the name) for a round of this number."""

    name: str
    cases: Callable[[int], Iterator[str]]
    run: Callable[[str], Result]
    goals: dict[str, int] = field(default_factory=dict)
    """How much of what a push must try at least."""
    watches: bool = False
    """Whether it watches file operations, which needs the part in C."""


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder in memory, gone at the end."""
    usable = os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM_BYTES
    place = MEMORY if usable else None
    folder = Path(tempfile.mkdtemp(prefix="centroidb-fuzz-", dir=place))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
