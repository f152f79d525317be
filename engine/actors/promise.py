"""What a caller waits on while an actor does its request.

made ---- taken ---- done
  |         |
  |         cancelled here: it is finished first, then the caller goes
  cancelled here: withdrawn, the actor skips it
"""

import math
from copy import copy
from typing import Generic, TypeVar

import trio

T = TypeVar("T")


class Promise(Generic[T]):
    """One answer, once, for one caller. Used on the event loop only."""

    def __init__(self) -> None:
        self._taken = self._done = False
        self._change: trio.Event | None = None
        """Set at the next of the two, if the caller waits for it."""
        self._value: T | None = None
        self._error: Exception | None = None
        self.withdrawn = False

    def take(self) -> bool:
        """The actor begins; False when the caller has withdrawn."""
        self._taken = True
        self._tell()
        return not self.withdrawn

    def keep(self, value: T) -> None:
        """The answer; whoever waits goes on."""
        if not self._done:
            self._value = value
            self._finish()

    def fail(self, error: Exception) -> None:
        """The answer is an error, a copy of this one; a promise kept already stays kept."""
        if not self._done:
            self._error = own_copy(error)
            self._finish()

    def _finish(self) -> None:
        self._taken = self._done = True
        self._tell()

    def _tell(self) -> None:
        if self._change is not None:
            self._change.set()

    async def wait(self) -> T:
        """Wait for the answer. Cancelled before it is taken, the request is withdrawn.

        Taken in the very moment of the cancellation it is answered: who is told
        Cancelled can rely on it that nothing was done.
        """
        if not self._taken:
            await self._wait_until_taken()
        if not self._done:
            with trio.CancelScope(deadline=math.inf, shield=True):
                await self._next_change()
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]  # kept: T may itself be None

    async def _wait_until_taken(self) -> None:
        try:
            await self._next_change()
        except trio.Cancelled:
            if not self._taken:
                self.withdrawn = True
                raise

    async def _next_change(self) -> None:
        self._change = trio.Event()
        await self._change.wait()


def own_copy(error: Exception) -> Exception:
    """One error for each caller: what one notes on it is not the others' business."""
    copied = copy(error).with_traceback(error.__traceback__)
    copied.__cause__ = error.__cause__
    if hasattr(error, "__notes__"):
        copied.__notes__ = list(error.__notes__)
    return copied
