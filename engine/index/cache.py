"""A cache of partitions and of runs of rows, with a budget in bytes.

What is in it never changes, so an entry is right for whoever finds it; it is
only ever replaced by one that holds more, or thrown out when room is needed,
the longest unused first.
"""

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Cache(Generic[T]):
    """Least recently used entries go first. Safe in any thread."""

    def __init__(self, nbytes_max: int, *, keeps_runs: bool = True) -> None:
        self.nbytes_max = nbytes_max
        self.keeps_runs = keeps_runs
        """Whether runs of rows may be kept, or partitions only."""
        self._guard = threading.Lock()
        """Guards the two fields below."""
        self._entries: OrderedDict[Hashable, tuple[T, int]] = OrderedDict()
        self._nbytes = 0

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
            if nbytes > self.nbytes_max:
                return
            self._entries[key] = (entry, nbytes)
            self._nbytes += nbytes
            while self._nbytes > self.nbytes_max:
                self._remove(next(iter(self._entries)))

    def _remove(self, key: Hashable) -> None:
        old = self._entries.pop(key, None)
        if old is not None:
            self._nbytes -= old[1]
