"""Versions of a generation beside each other: snapshots, purges, writes and foreign readers."""

from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from centroidb import Snapshot, open_db
from centroidb.engine.actors.reorganize import rewriting
from centroidb.engine.actors.reorganize.rewriting import Rewriting
from centroidb.engine.actors.sweeper import Sweeper
from centroidb.wal.segments import rows_of
from tests.support.databases import SMALL, checked_db
from tests.support.leftovers import leftovers

from .data import same_everywhere
from .skewed import QUERIES, UNPURGED, answers, centroids_of, crowd, same_for_all, skewed


async def test_held_snapshots_keep_their_partitions() -> None:
    """What a snapshot answers stays the same over reorganizations, purges and a rebuild."""
    async with checked_db(limits=SMALL) as db:
        table, index = await skewed(db)
        async with AsyncExitStack() as stack:
            held: list[tuple[Snapshot, Any]] = []

            async def hold() -> None:
                snapshot = await stack.enter_async_context(db.snapshot())
                held.append((snapshot, await answers(snapshot)))

            async def unchanged() -> None:
                for snapshot, before in held:
                    assert await answers(snapshot) == before

            await hold()
            await index.reorganize(1)
            await unchanged()
            await table.delete(range(0, 200, 2))
            await hold()
            await index.reorganize()
            await db.vacuum()
            await unchanged()
            await table.upsert(range(2_000, 2_300), crowd(300, seed=4))
            await hold()
            await index.reorganize()
            await unchanged()
            await index.rebuild()
            await db.vacuum()
            await unchanged()
        await db.vacuum()
        assert await leftovers(db) == []


@pytest.mark.parametrize("order", ["oldest first", "newest first"])
async def test_purges_reach_what_versions_share(order: str) -> None:
    """Ended rows leave the segments of all versions that are held, in whatever order they go."""
    async with checked_db(limits=UNPURGED) as db:
        table, index = await skewed(db)
        await table.delete(range(0, 300, 3))
        held: list[tuple[AsyncExitStack, Snapshot, Any]] = []
        for _ in range(3):
            stack = AsyncExitStack()
            snapshot = await stack.enter_async_context(db.snapshot())
            held.append((stack, snapshot, await answers(snapshot)))
            done = await index.reorganize(1)
            assert done.split + done.merged == 1
        assert (await table.statistics()).ended > 90
        await db.vacuum()
        assert (await table.statistics()).ended == 0
        for stack, _, _ in list(held if order == "oldest first" else reversed(held)):
            for _, snapshot, before in held:
                if not snapshot.view.snapshot.closed:
                    assert await answers(snapshot) == before
            await stack.aclose()
            await db.vacuum()
        await same_for_all(table)
        assert await leftovers(db) == []


async def test_a_purge_waits_for_searches_of_every_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """A segment that two versions share stays while a search in the older one may still read it."""
    async with checked_db(limits=UNPURGED) as db:
        table, index = await skewed(db)
        await table.delete(range(0, 300, 3))
        async with db.snapshot() as snapshot:
            (pinned,) = snapshot.view.indexes.values()
            assert pinned.generation is not None
            await index.reorganize(1)
            manifest = pinned.generation.manifest()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(db.vacuum)
                await wait_until_it_polls(monkeypatch)
                listed = [ref for refs in manifest.segments.values() for ref in refs]
                assert await snapshot.view.read(lambda c: rows_of(c, [ref.id for ref in listed]))
                pinned.generation.unpin(manifest)
        await same_for_all(table)


async def wait_until_it_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the Sweeper looks whether a search goes on."""
    polled = trio.Event()
    sleep = trio.sleep

    async def told(seconds: float) -> None:
        polled.set()
        await sleep(seconds)

    monkeypatch.setattr(trio, "sleep", told)
    with trio.fail_after(60):
        await polled.wait()


async def test_no_version_takes_over_in_the_middle_of_a_purge(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A reorganization waits until all generations are compacted: none of them is left out."""
    async with checked_db(limits=UNPURGED) as db:
        table, index = await skewed(db)
        await table.delete(range(0, 300, 3))
        compacting, go_on = trio.Event(), trio.Event()
        compact = Sweeper._compact_some

        async def paused(self: Sweeper, *arguments: Any) -> None:
            compacting.set()
            await go_on.wait()
            await compact(self, *arguments)

        monkeypatch.setattr(Sweeper, "_compact_some", paused)
        before = await centroids_of(db)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(db.vacuum)
            await compacting.wait()
            nursery.start_soon(index.reorganize)
            await trio.testing.wait_all_tasks_blocked()
            assert await centroids_of(db) == before
            go_on.set()
        assert await centroids_of(db) != before
        assert (await table.statistics()).ended == 0
        await same_for_all(table)


async def test_writes_go_on_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that are written, changed and deleted during the passes are all where they belong."""
    monkeypatch.setattr(rewriting, "PASS_SLICES", 1)
    async with checked_db(limits=SMALL) as db:
        table, index = await skewed(db)
        done = False

        async def write() -> None:
            for step in count():
                if done:
                    return
                first = 3_000 + 40 * step
                await table.upsert(range(first, first + 40), crowd(40, seed=step))
                await table.delete(range(first - 20, first, 2))
                await same_everywhere(table, QUERIES[step % len(QUERIES)])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            for _ in range(3):
                await index.reorganize()
            done = True
        await same_for_all(table)
        await db.vacuum()
        assert await leftovers(db) == []


async def test_rows_between_a_pass_and_its_seal_belong_to_the_new_version(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is committed when a version is proven, and has not yet taken over, is not lost."""
    async with checked_db(limits=SMALL) as db:
        table, index = await skewed(db)
        file = Rewriting._file

        async def file_and_write(self: Rewriting, *arguments: Any) -> Any:
            await table.upsert(range(3_000, 3_030), crowd(30))
            filed_until = await file(self, *arguments)
            await table.upsert(range(3_020, 3_060), crowd(40, seed=1))
            await table.delete([3_001, 5])
            return filed_until

        monkeypatch.setattr(Rewriting, "_file", file_and_write)
        await index.reorganize()
        assert (await index.partition_of(range(3_002, 3_060))).min() >= 0
        await same_for_all(table)


async def test_a_foreign_reader_follows(tmp_path: Path) -> None:
    """A reader beside the owner sees the new version in its next view; an open one stays."""
    path = tmp_path / "t.db"
    async with checked_db(path, limits=SMALL) as db:
        _, index = await skewed(db)
        async with open_db(path, read_only=True, limits=SMALL) as reader:
            assert await centroids_of(reader) == await centroids_of(db)
            async with reader.snapshot() as snapshot:
                before = await answers(snapshot)
                await index.reorganize()
                await db.vacuum()
                assert await answers(snapshot) == before
            assert await centroids_of(reader) == await centroids_of(db)
            assert await answers(reader) == await answers(db)
