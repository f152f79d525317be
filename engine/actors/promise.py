"""What a caller waits on while an actor does its request.

made ---- taken ---- done
  |         |
  |         cancelled here: it is finished first, then the caller goes
  cancelled here: withdrawn, the actor skips it
"""

from copy import copy
from typing import Generic, TypeVar

import trio

T = TypeVar("T")


class Promise(Generic[T]):
    """One answer, once, for one caller. Used on the event loop only."""

    def __init__(self) -> None:
        self._taken = self._done = False
        self._waiter: trio.lowlevel.Task | None = None
        """The caller, while it waits."""
        self._value: T | None = None
        self._error: Exception | None = None
        self.withdrawn = False

    def take(self) -> bool:
        """The actor begins; False when the caller has withdrawn."""
        self._taken = True
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
        if self._waiter is not None:
            trio.lowlevel.reschedule(self._waiter)
            self._waiter = None

    async def wait(self) -> T:
        """Wait for the answer. Cancelled before it is taken, the request is withdrawn.

        Taken in the very moment of the cancellation it is answered: who is told
        Cancelled can rely on it that nothing was done.
        """
        if not self._done:
            self._waiter = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._withdraw)
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]  # kept: T may itself be None

    def _withdraw(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        """The caller is cancelled: it may go if nothing has begun."""
        if self._taken:
            return trio.lowlevel.Abort.FAILED
        self._waiter = None
        self.withdrawn = True
        return trio.lowlevel.Abort.SUCCEEDED


async def put(inbox: trio.MemorySendChannel[T], request: T) -> None:
    """Put a request into an inbox, waiting while it is full.

    Else it is no checkpoint: the wait for the answer is one, and a second would be one more turn of
    the event loop for each caller.
    """
    try:
        inbox.send_nowait(request)
    except trio.WouldBlock:
        await inbox.send(request)


def own_copy(error: Exception) -> Exception:
    """One error for each caller: what one notes on it is not the others' business."""
    copied = copy(error).with_traceback(error.__traceback__)
    copied.__cause__ = error.__cause__
    if hasattr(error, "__notes__"):
        copied.__notes__ = list(error.__notes__)
    return copied
