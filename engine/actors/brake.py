"""A brake: lets writers through at so many rows a second, while a build catches up.

    rows   [ 40 ]        [ 40 ]        [ 10 ]  [ 300 ]
    turns  |-------------|-------------|-------|----------
           each commit's turn begins when the rows before it are paid for

A commit waits for those before it and never for its own rows, so a small one behind
small ones waits a moment, and one alone not at all.
"""

import math

import trio

from ...wal.types import TableId


class Brake:
    """Held by one build, and waited at by writers. Used on the event loop only."""

    def __init__(self, table: TableId, held_s: float = 0.0) -> None:
        self.table = table
        """Whose writers it slows."""
        self.rows_per_s = math.inf
        self.held_s = held_s
        """How long writers have waited here in all."""
        self._free_at_s = -math.inf
        """When the next turn begins, by trio's clock."""
        self._released = trio.Event()

    def __repr__(self) -> str:
        return f"<Brake: {self.rows_per_s:.0f} rows/s, held {self.held_s:.2f} s>"

    def slow_to(self, rows_per_s: float) -> None:
        """Let so many rows a second through from now on."""
        self.rows_per_s = rows_per_s

    def release(self) -> None:
        """Whoever waits goes on."""
        self._released.set()

    async def wait(self, rows: int) -> None:
        """Wait for the turn of a commit of so many rows, or for the release.

        Cancelled, it gives its turn back: rows that are not written hold nobody up.
        """
        now_s = trio.current_time()
        turn_s = max(self._free_at_s, now_s)
        taken_s = rows / self.rows_per_s
        self._free_at_s = turn_s + taken_s
        try:
            with trio.move_on_at(turn_s):
                await self._released.wait()
        except trio.Cancelled:
            self._free_at_s -= taken_s
            raise
        finally:
            self.held_s += trio.current_time() - now_s
