"""How a job that runs is told to end: by its handle, by a statement, by a drop, by closing.

cancelled     what it has stored goes
paused        it stays, and goes on when somebody asks for it
interrupted   it stays, and goes on at the next open, or when somebody asks for it
"""

import math
from dataclasses import dataclass, field
from typing import Literal

import trio

Ending = Literal["interrupted", "paused", "cancelled"]

_ORDER: tuple[Ending, ...] = ("interrupted", "paused", "cancelled")
"""Of two that were asked for, the later one holds."""


@dataclass(eq=False)
class BuildControl:
    """Used on the event loop only; the job runs inside `scope`."""

    max_duration_s: float = math.inf
    """How long it may run; then it is paused."""
    resumable: bool = True
    """Whether what it has done can be kept: a rebuild's can."""
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    asked: Ending = "interrupted"
    """Raised by whoever wants an end; what it is when the task itself is cancelled."""
    begun: trio.Event = field(default_factory=trio.Event)
    """Set by the job when it is in the file."""
    ended: trio.Event = field(default_factory=trio.Event)
    """Set by the job when it has put away what it leaves."""

    def start_clock(self) -> None:
        """The job runs from now on."""
        self.scope.deadline = trio.current_time() + self.max_duration_s

    def end(self, ending: Ending) -> None:
        """Let the job end, in this way or a stronger one."""
        self.asked = max(self.asked, ending, key=_ORDER.index)
        self.scope.cancel()

    @property
    def ending(self) -> Ending:
        """How a job that is cut short now ends."""
        late = trio.current_time() >= self.scope.deadline
        return max(self.asked, "paused" if late else self.asked, key=_ORDER.index)
