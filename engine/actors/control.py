"""How a build that runs is told what to do: by its job, by a drop, by closing."""

from dataclasses import dataclass, field

import trio


@dataclass(eq=False)
class BuildControl:
    """Used on the event loop only; the build runs inside `scope`."""

    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    given_up: bool = False
    """Set once, by `cancel`: what the build has stored goes."""
    begun: trio.Event = field(default_factory=trio.Event)
    """Set by the build when its job is in the file."""
    ended: trio.Event = field(default_factory=trio.Event)
    """Set by the build when it has put away what it leaves."""

    def cancel(self) -> None:
        """End the build and drop what it has done."""
        self.given_up = True
        self.scope.cancel()

    def interrupt(self) -> None:
        """End the build; it can go on later."""
        self.scope.cancel()
