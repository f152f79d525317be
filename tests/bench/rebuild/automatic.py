"""Time for the Monitor, which looks at an index now and then, and is quiet after what it did.

The clock of the run is a MockClock that goes at the usual speed; here it is put forward.
"""

import trio
from trio.testing import MockClock

from centroidb import Index

LATER_S = 900.0
"""More than the Monitor is quiet after an action."""
REST_S = 3.0
"""An index that has not been built for so long is at rest."""
POLL_S = 0.1


async def later(index: Index) -> None:
    """A quarter of an hour later, when what the Monitor began is done."""
    clock = trio.lowlevel.current_clock()
    assert isinstance(clock, MockClock)
    clock.jump(LATER_S)
    await rested(index)


async def rested(index: Index) -> None:
    """Wait until all rows are filed and nothing has been built for a while."""
    until_s = trio.current_time() + REST_S
    while trio.current_time() < until_s:
        state = await index.statistics()
        if state.building or state.lag_rows:
            until_s = trio.current_time() + REST_S
        await trio.sleep(POLL_S)
