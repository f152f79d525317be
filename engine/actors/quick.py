"""Which searches are so quick that a worker thread is not worth its way there and back.

    a search that asks alike took     2 ms             6 ms
                                        |                |
    the next one is answered          on the loop      in a worker

A worker costs a search 0.5 to 1.4 ms on two virtual cores: a thread and then the loop's are woken,
and both work with caches that the other one has filled.  So a search with one query that comes
alone is answered on the loop, when the one before that asked alike took less than `HERE_S`, in a
worker or here, and all partitions it probes are in memory.  Others' tasks wait so long for it.
The rows of the answer are read from the file, so the loop may be held for longer once, when their
pages are not in memory; then the next search goes to a worker again.
"""

from typing import Any, Final

HERE_S: Final = 0.004
"""The longest search that the next one follows on the event loop."""

KINDS_MAX: Final = 256

Kind = tuple[Any, ...]
"""What searches that take about as long have in common."""


class Quick:
    """How long searches took, by kind. Used on the event loop only."""

    def __init__(self) -> None:
        self._took_s: dict[Kind, float] = {}

    def __contains__(self, kind: Kind) -> bool:
        return self._took_s.get(kind, HERE_S) < HERE_S

    def note(self, kind: Kind, took_s: float) -> None:
        """A search of this kind took so long."""
        if len(self._took_s) >= KINDS_MAX and kind not in self._took_s:
            self._took_s.clear()
        self._took_s[kind] = took_s
