"""A build under way: its events, its verbs, and its outcome."""

from collections.abc import AsyncIterator, Awaitable, Callable

import trio

from ..actors.control import BuildControl
from ..actors.rebuild.outcome import Outcome
from ..actors.rebuild.progress import Event
from ..actors.rebuild.record import Listener
from .errors import JobCancelled, JobPaused

EVENTS_KEPT = 64

Build = Callable[[Listener, BuildControl], Awaitable[Outcome]]
"""Builds until it is done or told to end."""
Forget = Callable[[], Awaitable[None]]
"""Drops what a paused build has done."""


class Job:
    """Comes from `Index.rebuilding`. Iterate it for events; the last ones are kept.

    Paused, it has no more events; after `resume` it can be iterated again.
    """

    def __init__(self, index: str, build: Build, forget: Forget, nursery: trio.Nursery) -> None:
        self.index = index
        self._build = build
        self._forget = forget
        self._nursery = nursery
        self.cancelled = False
        """Whether `cancel` was called."""
        self.paused = False
        """Whether it was paused, by `pause`, a statement or its time limit, and did not go on."""
        self._latest: Event | None = None
        self._outcome: Outcome | None = None
        self._start()

    def __repr__(self) -> str:
        event = self._latest
        at = f"{event.phase}, {event.fraction:.0%}" if event else "not begun"
        return f"<Job rebuilding {self.index!r}: {at}{', paused' if self.paused else ''}>"

    def _start(self) -> None:
        self._control = BuildControl()
        self._send, self._receive = trio.open_memory_channel[Event](EVENTS_KEPT)
        self._over = trio.Event()
        self.paused = False
        self._nursery.start_soon(self._run, self._control)

    async def _run(self, control: BuildControl) -> None:
        try:
            self._outcome = await self._build(self._listen, control)
        except JobPaused:
            self.paused = True
        except JobCancelled:
            if not self.cancelled:
                raise
        finally:
            control.begun.set()
            self._send.close()
            self._over.set()

    def _listen(self, event: Event) -> None:
        """Take an event; while nobody iterates, the oldest give way."""
        self._latest = event
        try:
            self._send.send_nowait(event)
        except trio.WouldBlock:
            self._receive.receive_nowait()
            self._send.send_nowait(event)

    async def begun(self) -> None:
        """Wait until it is in the file, or has failed."""
        await self._control.begun.wait()

    @property
    def outcome(self) -> Outcome:
        """What it did; JobPaused or JobCancelled while it is not done."""
        if self._outcome is not None:
            return self._outcome
        if self.paused:
            raise JobPaused.of(self.index)
        state = "was cancelled" if self.cancelled else "is not done"
        raise JobCancelled(f"the build of index {self.index!r} {state}")

    @property
    def latest(self) -> Event | None:
        """The last event, None before the first."""
        return self._latest

    async def pause(self) -> bool:
        """End the build for now, durably.

        In this block `resume` lets it go on; later, also after the file was closed and
        opened again, `Index.resume_rebuild` or a rebuild with the same parameters does.
        Returns False when it was done, or cancelled, before.
        """
        self._control.end("paused")
        await self._over.wait()
        return self.paused

    def resume(self) -> None:
        """Let a paused build go on from its last durable step; nothing if it is not paused."""
        if self.paused:
            self._start()

    def cancel(self) -> None:
        """End the build, or one that is paused, and drop what it has done.

        The index stays as it is.
        """
        self.cancelled = True
        self._control.end("cancelled")
        if self.paused:
            self.paused = False
            self._nursery.start_soon(self._forget)

    def __aiter__(self) -> AsyncIterator[Event]:
        return self._receive.__aiter__()

    async def wait(self) -> Outcome:
        """Let the build end and return what it did; JobPaused when it was paused instead."""
        async for _ in self._receive:
            pass
        await trio.lowlevel.checkpoint()
        return self.outcome
