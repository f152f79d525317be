"""A cache of partitions and of runs of rows, with a budget in bytes.

What is in it never changes, so an entry is right for whoever finds it; it is
only ever replaced by one that holds more, or thrown out when room is needed,
the longest unused first.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Final, Generic, TypeVar

T = TypeVar("T")
D = TypeVar("D")

DERIVED_MAX: Final = 16

CLAIMED_SHARE: Final = 0.15
"""How much of the budget others than entries may have."""


class Cache(Generic[T]):
    """Least recently used entries go first. Safe in any thread."""

    def __init__(self, nbytes_max: int, *, keeps_runs: bool = True) -> None:
        self.nbytes_max = nbytes_max
        self.keeps_runs = keeps_runs
        """Whether runs of rows may be kept, or partitions only."""
        self._guard = threading.Lock()
        """Guards the fields below."""
        self._entries: OrderedDict[Hashable, tuple[T, int]] = OrderedDict()
        self._nbytes = self._claimed = 0
        self._derived: OrderedDict[Hashable, tuple[object, Any]] = OrderedDict()
        """What holds on to entries, and so must go when one of them does."""

    def __repr__(self) -> str:
        return f"<Cache: {len(self._entries)} entries, {self._nbytes} of {self.nbytes_max} bytes>"

    @property
    def nbytes(self) -> int:
        """Bytes held now."""
        return self._nbytes

    def get(self, key: Hashable) -> T | None:
        """The entry, which thereby becomes the most recently used."""
        with self._guard:
            found = self._entries.get(key)
            if found is None:
                return None
            self._entries.move_to_end(key)
            return found[0]

    def put(self, key: Hashable, entry: T, nbytes: int) -> None:
        """Keep an entry; one larger than the whole budget is not kept."""
        with self._guard:
            self._remove(key)
            if nbytes + self._claimed > self.nbytes_max:
                self._derived.clear()
                return
            self._entries[key] = (entry, nbytes)
            self._grow(nbytes)

    def claim(self, nbytes: int) -> bool:
        """Take so many bytes of the budget for something else, or give them back.

        False if all that is claimed would be more than a share of it.
        """
        with self._guard:
            if nbytes > 0 and self._claimed + nbytes > CLAIMED_SHARE * self.nbytes_max:
                return False
            self._claimed += nbytes
            self._grow(nbytes)
            return True

    def derived(self, key: Hashable, source: object, make: Callable[[], D]) -> D:
        """What `make` makes of entries: the same each time, while `source` is and no entry goes.

        It may hold entries as they come, and whoever uses it may go on when it is let go here.
        """
        with self._guard:
            known = self._derived.pop(key, None)
            if known is None or known[0] is not source:
                known = source, make()
            self._derived[key] = known
            if len(self._derived) > DERIVED_MAX:
                self._derived.popitem(last=False)
            made: D = known[1]
            return made

    def _grow(self, nbytes: int) -> None:
        self._nbytes += nbytes
        while self._nbytes > self.nbytes_max:
            self._remove(next(iter(self._entries)))

    def _remove(self, key: Hashable) -> None:
        old = self._entries.pop(key, None)
        if old is not None:
            self._nbytes -= old[1]
            self._derived.clear()
