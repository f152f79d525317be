"""A checkpoint of a running database: writing goes on while the readers drain."""

import threading
from dataclasses import replace

import trio
from trio.testing import wait_all_tasks_blocked

from tests.support.databases import SMALL, checked_db

from .points import filled, points, supervisor_of

ONE_PAGE = replace(SMALL, sqlite_wal_bytes=1)


async def test_a_long_read_holds_up_no_commit() -> None:
    """While a read keeps a checkpoint waiting, commits are answered; afterwards it is made."""
    async with checked_db(limits=ONE_PAGE) as db:
        table = await filled(db, "t", 10)
        state = supervisor_of(db).state
        go_on = threading.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(state.pool.read, lambda _: go_on.wait(60))
            await wait_all_tasks_blocked()
            with trio.fail_after(30):
                for key in range(20):
                    await table.upsert(key, points(1)[0])
            assert state.file.sqlite_wal_bytes() > 0
            go_on.set()
        await supervisor_of(db).committer.checkpoint()
        assert state.file.sqlite_wal_bytes() == 0
        assert await table.count() == 20


async def test_closing_while_readers_drain_leaves_one_file() -> None:
    """A close in the middle of a checkpoint waits for the reader, and ends."""
    go_on = threading.Event()
    with trio.fail_after(60):
        async with checked_db(limits=ONE_PAGE) as db:
            table = await filled(db, "t", 10)
            async with trio.open_nursery() as nursery:
                pool = supervisor_of(db).state.pool
                nursery.start_soon(pool.read, lambda _: go_on.wait(60))
                await wait_all_tasks_blocked()
                await table.upsert(1, points(1)[0])
                assert not pool.is_drained
                go_on.set()
