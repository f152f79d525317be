"""All systems on one data set, in turn, round after round.

    each round:  build, in turn -> search, in turn -> commits, in turn
    at the end:  close -> each round: opened again by a new process, in turn

So what disturbs the machine for a while disturbs all of them. A system that fails is left out of
what follows, with its reason.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.bench.asked import Asked, asking
from tests.bench.systems import SYSTEMS, System

WRITERS = (1, 64)
SLOW_S = 15.0
"""A system that takes longer to load and build is built in the first round only."""
Figures = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """How long it all takes."""

    rounds: int
    seconds: float
    """Of each measurement of clients or writers."""
    recall: float
    """At which clients search."""


@dataclass
class Entry:
    """One system."""

    name: str
    system: System
    child: Asked
    folder: Path
    """Of the newest build, under which others may write."""
    figures: dict[str, list[Figures]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    """By measurement."""

    def ask(self, name: str, do: str, **options: Any) -> Figures | None:
        """Note the figures of one measurement under a name; None where there are none."""
        print(f"{self.name}: {name}", file=sys.stderr, flush=True)
        return self.note(name, self.child.ask(do, **options))

    def note(self, name: str, figures: Figures) -> Figures | None:
        """The figures, unless it failed."""
        if "failed" in figures:
            self.failed[name] = figures["failed"]
            return None
        self.figures.setdefault(name, []).append(figures)
        return figures

    def can(self, name: str) -> bool:
        """Whether there is a build, and this has not failed before."""
        return "build" in self.figures and not {"build", name} & self.failed.keys()

    def is_slow(self) -> bool:
        """Whether one build is enough."""
        return any(
            each["load_s"] + each["build_s"] > SLOW_S for each in self.figures.get("build", [])
        )


@dataclass
class Contest:
    """The set, and the systems on it."""

    set_folder: Path
    plan: Plan
    entries: Mapping[str, Entry]
    stack: ExitStack
    """Removes folders in the end."""

    def run(self) -> dict[str, Figures]:
        """Everything; the figures by system."""
        for _ in range(self.plan.rounds):
            for measure in (self._build, self._search, self._write):
                for entry in self.entries.values():
                    measure(entry)
        for entry in self.entries.values():
            if entry.can("close"):
                entry.ask("close", "close")
        for _ in range(self.plan.rounds):
            for entry in self.entries.values():
                self._reopen(entry)
        return {
            name: {**entry.figures, "failed": entry.failed} for name, entry in self.entries.items()
        }

    def _build(self, entry: Entry) -> None:
        if {"release", "build"} & entry.failed.keys() or entry.is_slow():
            return
        if "release" not in entry.figures and not entry.ask("release", "release"):
            return
        folder = self._new_folder()
        if entry.ask("build", "build", folder=str(folder)):
            entry.folder = folder

    def _search(self, entry: Entry) -> None:
        if entry.system.efforts and entry.can("search"):
            plan = self.plan
            entry.ask("search", "search", recall=plan.recall, seconds=plan.seconds)

    def _write(self, entry: Entry) -> None:
        for writers in WRITERS if entry.system.synced else ():
            name = f"write {writers}"
            if entry.can(name):
                folder = str(self._new_folder())
                entry.ask(name, "write", folder=folder, number=writers, seconds=self.plan.seconds)

    def _reopen(self, entry: Entry) -> None:
        if not entry.can("reopen") or "search" not in entry.figures or entry.failed.get("close"):
            return
        effort = entry.figures["search"][-1]["effort"]
        with asking(entry.name, self.set_folder, entry.folder / "log") as child:
            entry.note("reopen", child.ask("reopen", folder=str(entry.folder), effort=effort))

    def _new_folder(self) -> Path:
        """Directly under the system's temporary folder, where pgvector's server wants it."""
        made = TemporaryDirectory(prefix="centroidb-bench-", ignore_cleanup_errors=True)
        return Path(self.stack.enter_context(made))


def contest(set_folder: Path, plan: Plan, names: Sequence[str]) -> dict[str, Figures]:
    """Measure these systems on the set in the folder."""
    with ExitStack() as stack, entries(set_folder, names) as entered:
        return Contest(set_folder, plan, entered, stack).run()


@contextmanager
def entries(set_folder: Path, names: Sequence[str]) -> Iterator[Mapping[str, Entry]]:
    """A process for each system; one that can not be started fails when it is asked."""
    with ExitStack() as stack:
        entered = {}
        for name in names:
            log = set_folder / f"{name}.log"
            child = stack.enter_context(asking(name, set_folder, log))
            entered[name] = Entry(name, SYSTEMS[name], child, set_folder)
        yield entered
