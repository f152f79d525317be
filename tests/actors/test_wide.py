"""Work n wide: order of results, width, and errors that come out as themselves."""

import pytest
import trio
import trio.testing

from centroidb import CorruptError, DiskFullError
from centroidb.engine.actors.wide import each, unwrapped


async def test_results_come_in_the_order_of_the_items() -> None:
    """Whoever finishes first, results are in the order of the items."""

    async def work(item: int) -> int:
        for _ in range(10 - item):
            await trio.lowlevel.checkpoint()
        return item * item

    assert await each(3, range(10), work) == [item * item for item in range(10)]


async def test_no_more_than_the_width_run_at_a_time() -> None:
    """At most `width` items are worked on at a time, and all of them if there are as many."""
    running, most = 0, 0

    async def work(item: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await trio.testing.wait_all_tasks_blocked(0.0)
        running -= 1
        return item

    await each(3, range(3), work)

    assert most == 3


async def test_one_failure_comes_out_as_itself() -> None:
    """An exception group with one real error in it comes out as that error."""

    async def work(item: int) -> int:
        if item == 1:
            raise KeyError(item)
        await trio.sleep_forever()
        return item

    with pytest.raises(KeyError):
        await each(3, range(3), work)


async def test_of_several_expected_failures_the_worst_is_told() -> None:
    """Of errors that callers expect one comes out, one to retry last; it names the others."""
    with pytest.raises(CorruptError) as caught, unwrapped():
        raise ExceptionGroup("both", [DiskFullError("full"), CorruptError("row 7")])

    assert caught.value.__notes__ == ["at the same time: DiskFullError('full')"]


async def test_two_failures_stay_a_group() -> None:
    """When two things really failed, both are told."""
    with pytest.raises(ExceptionGroup) as caught, unwrapped():
        raise ExceptionGroup("both", [KeyError(1), ValueError(2)])

    assert len(caught.value.exceptions) == 2
