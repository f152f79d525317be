"""Which searches are so quick that a worker thread is not worth its way there and back.

    a search that asks alike took     0.5 ms           0.5 ms              6 ms
    searches inside                   3                40                  1
                                      |                |                   |
    the next one is answered          on the loop      with others         in a worker

A worker costs a search 0.5 to 1.4 ms on two virtual cores: a thread and then the loop's are woken,
and both work with caches that the other one has filled.  So a search with one query is answered on
the loop when all that are inside would take less than `HERE_S` together, and all partitions it
probes are in memory.  Others' tasks wait so long for them.  More searches than that are quicker in
batches.

What one takes is the median of the last few that asked alike and were not disturbed: on the loop,
or alone in a worker.  So one that a collection of garbage came upon changes nothing; and where many
go to workers one is measured here now and then.  The rows of the answer are read from the file, so
the loop may be held for longer a few times, when their pages are not in memory; then the next
searches go to workers again.
"""

from collections import deque
from time import perf_counter
from typing import Any, Final

HERE_S: Final = 0.004
"""What the searches inside may take together on the event loop."""

LAST: Final = 5
"""Searches whose times are remembered."""

AGAIN_S: Final = 0.05
"""Until one is measured on the loop beside many."""

KINDS_MAX: Final = 256

Kind = tuple[Any, ...]
"""What searches that take about as long have in common."""


class Quick:
    """How long searches took, by kind. Used on the event loop only."""

    def __init__(self) -> None:
        self._known: dict[Kind, deque[tuple[float, float]]] = {}
        """How long the last of each kind took, and when that was noted."""

    def allows(self, kind: Kind, together: int) -> bool:
        """Whether so many searches of this kind are quick; not before one was measured."""
        known = self._known.get(kind)
        if known is None:
            return False
        took_s, _ = sorted(known)[len(known) // 2]
        if took_s * together < HERE_S:
            return True
        _, noted_at_s = known[-1]
        return took_s < HERE_S and perf_counter() > noted_at_s + AGAIN_S

    def note(self, kind: Kind, took_s: float) -> None:
        """A search of this kind took so long, and nothing disturbed it."""
        if len(self._known) >= KINDS_MAX and kind not in self._known:
            self._known.clear()
        self._known.setdefault(kind, deque(maxlen=LAST)).append((took_s, perf_counter()))
