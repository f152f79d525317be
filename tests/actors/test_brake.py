"""The brake and the throttle: who waits, and how long, by a clock that only tests move."""

import trio
from trio.testing import MockClock

from centroidb.engine.actors.brake import Brake
from centroidb.engine.actors.rebuild.effort import Pace
from centroidb.wal.types import TableId

TABLE = TableId(1)


async def test_a_writer_waits_for_the_rows_before_its_own(autojump_clock: MockClock) -> None:
    """Alone it does not wait; behind others it waits until theirs are paid for, in turn."""
    brake = Brake(TABLE)
    brake.slow_to(100)
    began = trio.current_time()
    turns = []
    for rows in (50, 10, 200, 1):
        await brake.wait(rows)
        turns.append(round(trio.current_time() - began, 6))
    assert turns == [0, 0.5, 0.6, 2.6]
    assert round(brake.held_s, 6) == 2.6


async def test_a_release_lets_everybody_go(autojump_clock: MockClock) -> None:
    """Whoever waits at a brake that is released goes on at once, and so does who comes later."""
    brake = Brake(TABLE)
    brake.slow_to(1)
    began = trio.current_time()
    await brake.wait(1_000)
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(brake.wait, 1_000)
        await trio.testing.wait_all_tasks_blocked()
        brake.release()
    await brake.wait(1_000)
    assert trio.current_time() == began


async def test_a_writer_that_gives_up_holds_nobody_up(autojump_clock: MockClock) -> None:
    """Rows whose writer was cancelled while it waited are not waited for by the next."""
    brake = Brake(TABLE)
    brake.slow_to(100)
    began = trio.current_time()
    await brake.wait(300)
    for _ in range(5):
        with trio.move_on_after(0.5) as impatient:
            await brake.wait(200)
        assert impatient.cancelled_caught
    await brake.wait(1)
    assert round(trio.current_time() - began, 6) == 3


async def test_rows_a_second_are_kept_by_all_workers_together(autojump_clock: MockClock) -> None:
    """Ten blocks of 50 rows at 100 rows a second take five seconds, however wide the build is."""
    for width in (1, 3):
        pace = Pace(100, trio.CapacityLimiter(9))
        began = trio.current_time()
        left = list(range(10))

        async def work(pace: Pace = pace, left: list[int] = left) -> None:
            while left:
                left.pop()
                async with pace.block(50):
                    await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            for _ in range(width):
                nursery.start_soon(work)
        assert round(trio.current_time() - began, 6) == 5


async def test_a_share_of_a_core_rests_as_it_works(autojump_clock: MockClock) -> None:
    """At a quarter of a core, a block that takes a second is followed by three of rest."""
    pace = Pace(0.25, trio.CapacityLimiter(1))
    began = trio.current_time()
    for _ in range(2):
        async with pace.block(1):
            await trio.sleep(1)  # the work, by the mocked clock
    assert trio.current_time() - began == 8


async def test_without_a_throttle_nobody_rests(autojump_clock: MockClock) -> None:
    """A build that was told nothing goes as fast as it can."""
    began = trio.current_time()
    async with Pace(None, trio.CapacityLimiter(1)).block(1_000_000):
        pass
    assert trio.current_time() == began
