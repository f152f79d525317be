"""Promises: one answer, and what cancellation does before and after it is taken."""

import pytest
import trio
import trio.testing

from centroidb.engine.actors.promise import Promise, put


async def test_an_answer_kept_before_anybody_waits_is_not_lost() -> None:
    """An answer kept before anybody waits is not lost."""
    promise: Promise[int] = Promise()
    promise.take()
    promise.keep(7)

    assert await promise.wait() == 7


async def test_the_first_answer_stays() -> None:
    """A promise that was kept can not be failed, and the other way round."""
    promise: Promise[int] = Promise()
    promise.fail(ValueError("first"))
    promise.keep(7)

    with pytest.raises(ValueError, match="first"):
        await promise.wait()


async def test_cancelled_before_it_is_taken_a_request_is_withdrawn() -> None:
    """The actor is told to skip a request whose caller has gone."""
    promise: Promise[int] = Promise()
    with trio.CancelScope() as scope:
        scope.cancel()
        await promise.wait()

    assert scope.cancelled_caught
    assert not promise.take()


async def test_cancelled_after_it_is_taken_a_request_is_finished() -> None:
    """A caller that is cancelled while the actor works leaves only when the work is done."""
    promise: Promise[int] = Promise()
    left = trio.Event()

    async def caller(scope: trio.CancelScope) -> None:
        with scope:
            await promise.wait()
        left.set()

    async with trio.open_nursery() as nursery:
        scope = trio.CancelScope()
        nursery.start_soon(caller, scope)
        await trio.testing.wait_all_tasks_blocked()
        assert promise.take()
        await trio.testing.wait_all_tasks_blocked()
        scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert not left.is_set()
        promise.keep(1)

    assert left.is_set()


async def test_a_full_inbox_is_waited_for() -> None:
    """Requests are put in the order in which they came; a caller that is cancelled puts none."""
    send, receive = trio.open_memory_channel[int](1)
    await put(send, 1)
    async with trio.open_nursery() as nursery:
        scope = trio.CancelScope()

        async def cancelled() -> None:
            with scope:
                await put(send, 2)

        nursery.start_soon(cancelled)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(put, send, 3)
        await trio.testing.wait_all_tasks_blocked()
        scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert [await receive.receive() for _ in range(2)] == [1, 3]
    with pytest.raises(trio.WouldBlock):
        receive.receive_nowait()


async def test_what_is_put_is_not_waited_for() -> None:
    """A caller that is cancelled already puts its request, and withdraws it when it waits."""
    send, receive = trio.open_memory_channel[Promise[int]](1)
    promise: Promise[int] = Promise()
    with trio.CancelScope() as scope:
        scope.cancel()
        await put(send, promise)
        await promise.wait()
    assert scope.cancelled_caught
    assert not receive.receive_nowait().take()
