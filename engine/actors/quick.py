"""Which searches are so quick that a worker thread is not worth its way there and back.

    a search that asks alike took     0.5 ms           0.5 ms              6 ms
    searches inside                   3                40                  1
                                      |                |                   |
    the next one is answered          on the loop      with others         in a worker

A worker costs a search 0.5 to 1.4 ms on two virtual cores: a thread and then the loop's are woken,
and both work with caches that the other one has filled.  So a search with one query is answered on
the loop when all that are inside would take less than `HERE_S` together, going by the last one that
asked alike and was alone, in a worker or here, and all partitions it probes are in memory.  Others'
tasks wait so long for them.  More searches than that are quicker in batches.
The rows of the answer are read from the file, so the loop may be held for longer a few times, when
their pages are not in memory; then the next searches go to workers again.
"""

from typing import Any, Final

HERE_S: Final = 0.004
"""What the searches inside may take together on the event loop."""

SLOWER: Final = 2
"""A search counts as so many times as long as the one before at most: one of a thousand takes ten
times as long as the others, and would send them all to workers, where nobody measures them."""

KINDS_MAX: Final = 256

Kind = tuple[Any, ...]
"""What searches that take about as long have in common."""


class Quick:
    """How long searches took, by kind. Used on the event loop only."""

    def __init__(self) -> None:
        self._took_s: dict[Kind, float] = {}

    def allows(self, kind: Kind, together: int) -> bool:
        """Whether so many searches of this kind are quick; not before one was measured."""
        return self._took_s.get(kind, HERE_S) * together < HERE_S

    def note(self, kind: Kind, took_s: float, *, disturbed: bool = False) -> None:
        """A search of this kind took so long; beside others, which disturb it, at most so long."""
        if len(self._took_s) >= KINDS_MAX and kind not in self._took_s:
            self._took_s.clear()
        known_s = self._took_s.get(kind, took_s)
        self._took_s[kind] = min(took_s, known_s if disturbed else SLOWER * known_s)
