"""Calls under way, which a close waits for before it gives the file back.

The descriptor of a file must be closed last: its close drops every lock that the process has on it.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import trio


class Calls:
    """Counts them. Belongs to the event loop's thread."""

    def __init__(self) -> None:
        self._running = 0
        self._none = trio.Event()
        """Set when the last one ends; replaced when another begins after that."""

    @contextmanager
    def one(self) -> Iterator[None]:
        """The time of a call."""
        if not self._running:
            self._none = trio.Event()
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1
            if not self._running:
                self._none.set()

    async def over(self) -> None:
        """Wait until none runs."""
        while self._running:
            await self._none.wait()
