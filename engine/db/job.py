"""A build under way: its events, and its outcome."""

from collections.abc import AsyncIterator

import trio

from ..actors.control import BuildControl
from ..actors.rebuild.progress import Event
from ..actors.rebuild.rebuilder import Outcome
from .errors import JobCancelled

EVENTS_KEPT = 64


class Job:
    """Comes from `Index.rebuilding`. Iterate it for events; the last ones are kept."""

    def __init__(self, index: str, control: BuildControl) -> None:
        self.index = index
        self._control = control
        self.cancelled = False
        """Whether `cancel` was called."""
        self._send, self._receive = trio.open_memory_channel[Event](EVENTS_KEPT)
        self._latest: Event | None = None
        self._outcome: Outcome | None = None

    def __repr__(self) -> str:
        event = self._latest
        at = f"{event.phase}, {event.fraction:.0%}" if event else "not begun"
        return f"<Job rebuilding {self.index!r}: {at}>"

    @property
    def outcome(self) -> Outcome:
        """What it did; JobCancelled while it is not done."""
        if self._outcome is None:
            state = "was cancelled" if self.cancelled else "is not done"
            raise JobCancelled(f"the build of index {self.index!r} {state}")
        return self._outcome

    @property
    def latest(self) -> Event | None:
        """The last event, None before the first."""
        return self._latest

    def listen(self, event: Event) -> None:
        """Take an event; while nobody iterates, the oldest give way."""
        self._latest = event
        try:
            self._send.send_nowait(event)
        except trio.WouldBlock:
            self._receive.receive_nowait()
            self._send.send_nowait(event)

    def finish(self, outcome: Outcome | None) -> None:
        """There will be no more events."""
        self._outcome = outcome
        self._send.close()

    def cancel(self) -> None:
        """End the build and drop what it has done; the index stays as it is."""
        self.cancelled = True
        self._control.cancel()

    def __aiter__(self) -> AsyncIterator[Event]:
        return self._receive.__aiter__()

    async def wait(self) -> Outcome:
        """Let the build end and return what it did."""
        async for _ in self._receive:
            pass
        await trio.lowlevel.checkpoint()
        return self.outcome
