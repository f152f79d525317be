"""REORGANIZE: partitions split and given up, while everything else goes on."""

import shutil
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trio
import trio.testing

from centroidb import (
    BusyError,
    ClosedError,
    Database,
    InputError,
    JobCancelled,
    RebuildRejected,
    open_db,
)
from centroidb.engine.actors.committer import Committer
from centroidb.engine.actors.reorganize import rewriting
from centroidb.engine.actors.reorganize.rewriting import Rewriting
from centroidb.engine.index import reorganize
from tests.support.databases import SMALL, checked_db
from tests.support.leftovers import leftovers

from .data import DIM, clustered, filed
from .skewed import NLIST, QUERIES, TINY, answers, centroids_of, crowd, homes, same_for_all, skewed


@pytest.mark.parametrize("codec", ["flat", "sq8"])
@pytest.mark.parametrize("metric", ["l2", "cosine", "dot"])
async def test_overgrown_are_split_and_starving_given_up(codec: Any, metric: Any) -> None:
    """Partitions become more even, their number follows, and searches find what is there."""
    async with checked_db(limits=SMALL) as db:
        table, index = await skewed(db, codec=codec, metric=metric)
        done = await index.reorganize()
        assert done.split >= 1
        assert done.merged >= 1
        assert done.rows_moved > 0
        assert done.imbalance_after < done.imbalance_before
        statistics = await index.statistics()
        assert done.nlist_before == NLIST
        assert done.nlist_after == statistics.nlist == len(await index.partitions())
        assert statistics.imbalance == done.imbalance_after
        for query in QUERIES:
            hits = await table.search(query, 20, nprobe=60_000, metric=metric)
            exact = await table.search(query, 20, exact=True, metric=metric)
            assert hits.ids == exact.ids
            assert hits.distances.tobytes() == exact.distances.tobytes()
        await db.vacuum()
        assert await leftovers(db) == []


async def segment_ids(db: Database) -> set[int]:
    """The segments of the index that is there."""
    async with db.snapshot() as snapshot:
        (pinned,) = snapshot.view.indexes.values()
        assert pinned.generation is not None
        return {ref.id for refs in pinned.generation.segments.values() for ref in refs}


async def test_only_the_worst_are_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A number of partitions takes the worst; what lies farther off keeps its very segments."""
    monkeypatch.setattr(reorganize, "NEIGHBOURS", 1)
    async with checked_db(limits=SMALL) as db:
        _, index = await skewed(db)
        before, stored = await index.partitions(), await segment_ids(db)
        done = await index.reorganize(1)
        after = await index.partitions()
        same = [
            old.centroid.tobytes() == new.centroid.tobytes()
            for old, new in zip(before, after, strict=False)
        ]
        worst = max(before, key=lambda partition: partition.rows)
        assert (done.split, done.merged) == (1, 0)
        assert same == [partition.id != worst.id for partition in before]
        assert max(partition.rows for partition in after) < worst.rows
        assert stored & await segment_ids(db)


async def test_every_row_is_with_its_nearest_centroid() -> None:
    """With few partitions all are neighbours: rows are where a full assignment puts them."""
    async with checked_db(limits=SMALL) as db:
        table, index = await skewed(db)
        await index.reorganize()
        centroids = np.array([partition.centroid for partition in await index.partitions()])
        rows = {row.id: row.vector async for row in table.iterate(vectors=True)}
        for key, centroid in await homes(table, index):
            squares = np.square(centroids - rows[key]).sum(axis=1)
            assert centroids[squares.argmin()].tobytes() == centroid


async def test_it_stays_over_a_reopening(tmp_path: Path) -> None:
    """The next open finds the partitions as they were left."""
    path = tmp_path / "t.db"
    async with checked_db(path, limits=SMALL) as db:
        table, index = await skewed(db)
        await index.reorganize()
        before, found = await homes(table, index), await answers(db)
    async with checked_db(path, limits=SMALL) as db:
        table, index = await db.table("t"), await db.index("ix")
        assert await homes(table, index) == before
        assert await answers(db) == found
        await db.vacuum()
        assert await leftovers(db) == []


@pytest.mark.parametrize("parallel", [1, 3])
async def test_many_passes_do_it_too(parallel: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut into passes of one change each, all changes are made, at any width to the same end."""
    monkeypatch.setattr(rewriting, "PASS_SLICES", 1)
    async with checked_db(limits=TINY) as db, checked_db(limits=TINY) as other:
        table, index = await skewed(db)
        done = await index.reorganize(parallel=parallel)
        assert done.split + done.merged > 1
        await same_for_all(table)
        table_alone, index_alone = await skewed(other)
        await index_alone.reorganize(parallel=1)
        assert await homes(table, index) == await homes(table_alone, index_alone)
        await db.vacuum()
        assert await leftovers(db) == []


async def test_a_graph_over_centroids_is_followed() -> None:
    """With HNSW the new version has a graph of its own, and all is found."""
    async with checked_db(limits=SMALL) as db:
        table, index = await skewed(db, centroid_search="hnsw")
        done = await index.reorganize()
        assert done.split >= 1
        await same_for_all(table)


async def test_rows_that_are_alike_can_not_be_split() -> None:
    """A partition whose rows are all the same stays as it is, and so does its version."""
    async with checked_db(limits=SMALL) as db:
        table = await db.create_table("t", dim=DIM)
        places = np.repeat(clustered(4), 25, axis=0)
        await table.upsert(range(100), places)
        index = await table.create_index("ix", nlist=4)
        await table.upsert(range(1_000, 1_400), np.repeat(places[:1], 400, axis=0))
        await filed(index)
        assert max(partition.rows for partition in await index.partitions()) > 400
        done = await index.reorganize(1)
        assert (done.split, done.merged, done.rows_moved) == (0, 0, 0)
        assert done.nlist_after == 4
        await same_for_all(table)


async def test_an_index_that_is_not_trained_has_nothing_to_mend() -> None:
    """Without partitions, or without rows, nothing is done and nothing is refused."""
    async with checked_db(limits=SMALL) as db:
        table = await db.create_table("t", dim=DIM)
        index = await table.create_index("ix")
        done = await index.reorganize()
        assert (done.nlist_before, done.nlist_after, done.rows_moved) == (0, 0, 0)
        await index.rebuild()
        done = await index.reorganize()
        assert (done.nlist_before, done.nlist_after, done.rows_moved) == (1, 1, 0)
        assert [(job.kind, job.state) for job in await db.jobs()] == [
            ("reorganize", "done"),
            ("rebuild", "done"),
        ]


@pytest.mark.parametrize("options", [{"partitions": 0}, {"partitions": "2"}, {"parallel": 0}])
async def test_bad_numbers_are_refused(options: dict[str, Any]) -> None:
    """A number of partitions or threads that can not be is an InputError that names it."""
    async with checked_db(limits=SMALL) as db:
        _, index = await skewed(db)
        with pytest.raises(InputError, match=next(iter(options))):
            await index.reorganize(**options)


class Cut(BaseException):
    """What stops a process, as far as the file is concerned."""


def cut_after(turns: int, patch: pytest.MonkeyPatch) -> Callable[[], bool]:
    """From now on the turn with this number that this task asks for is the last, as in a crash."""
    do, left, task = Committer.do, turns, trio.lowlevel.current_task()

    async def counted(self: Committer, start: Any, finish: Any) -> Any:
        nonlocal left
        if left == 0:
            raise Cut
        result = await do(self, start, finish)
        if trio.lowlevel.current_task() is not task:
            return result
        left -= 1
        if left == 0:
            self._state.fail(OSError("crashed"))  # type: ignore[arg-type]  # nothing is tidied up
            raise Cut
        return result

    patch.setattr(Committer, "do", counted)
    return lambda: left == 0


async def test_a_crash_at_any_write_leaves_one_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped after any transaction, the index is as before or as after, and nothing is left."""
    monkeypatch.setattr(rewriting, "PASS_SLICES", 64)
    whole, path = tmp_path / "whole.db", tmp_path / "cut.db"
    async with checked_db(whole, limits=SMALL) as db:
        await skewed(db)
        await (await db.table("t")).upsert(range(5_000, 5_020), crowd(20))
        before = await centroids_of(db)
    found = []
    for turns in count(1):
        shutil.copy(whole, path)
        with monkeypatch.context() as local:
            try:
                async with open_db(path, limits=SMALL) as db:
                    crashed = cut_after(turns, local)
                    await (await db.index("ix")).reorganize()
            except (Cut, BaseExceptionGroup):
                pass
        async with checked_db(path, limits=SMALL) as db:
            found.append(await centroids_of(db))
            await same_for_all(await db.table("t"))
            assert {job.state for job in await db.jobs()} <= {"done", "cancelled"}
            await db.vacuum()
            assert await leftovers(db) == []
        if not crashed():
            break
    after = found[-1]
    assert after != before
    assert found == sorted(found, key=lambda each: each != before)
    assert all(each in (before, after) for each in found)
    assert len(found) > 8


@pytest.mark.parametrize("drop", ["index", "table"])
async def test_a_drop_ends_it(drop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """When its index or its table is dropped meanwhile it is cancelled, and nothing is left."""
    async with checked_db(limits=SMALL) as db:
        _, index = await skewed(db)
        async with trio.open_nursery() as nursery:
            proving, go_on = paused_at_the_proof(monkeypatch)
            nursery.start_soon(expect, JobCancelled, index.reorganize)
            await proving.wait()
            await (db.drop_index("ix") if drop == "index" else db.drop_table("t"))
            go_on.set()
        await db.vacuum()
        assert await leftovers(db) == []


def paused_at_the_proof(monkeypatch: pytest.MonkeyPatch) -> tuple[trio.Event, trio.Event]:
    """Events: all is staged and it waits; it may go on."""
    proving, go_on = trio.Event(), trio.Event()
    prove = Rewriting._prove

    async def paused(self: Rewriting) -> None:
        proving.set()
        await go_on.wait()
        await prove(self)

    monkeypatch.setattr(Rewriting, "_prove", paused)
    return proving, go_on


async def expect(error: type[Exception], call: Callable[[], Any]) -> None:
    """The call raises that."""
    with pytest.raises(error):
        await call()


async def test_closing_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing does not wait for it: the call ends with ClosedError, the index is as before."""
    path = tmp_path / "t.db"
    async with trio.open_nursery() as nursery, open_db(path, limits=SMALL) as db:
        _, index = await skewed(db)
        before = await centroids_of(db)
        proving, _ = paused_at_the_proof(monkeypatch)
        nursery.start_soon(expect, ClosedError, index.reorganize)
        await proving.wait()
    async with checked_db(path, limits=SMALL) as db:
        assert await centroids_of(db) == before
        assert (await db.jobs())[0].state == "cancelled"
        await db.vacuum()
        assert await leftovers(db) == []


async def test_cancelling_leaves_the_index_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller that is cancelled leaves nothing behind, and another can begin at once."""
    async with checked_db(limits=SMALL) as db:
        table, index = await skewed(db)
        before = await centroids_of(db)
        with monkeypatch.context() as local:
            proving, _ = paused_at_the_proof(local)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(index.reorganize)
                await proving.wait()
                nursery.cancel_scope.cancel()
        assert await centroids_of(db) == before
        assert (await db.jobs())[0].state == "cancelled"
        await db.vacuum()
        assert await leftovers(db) == []
        await index.reorganize()
        await same_for_all(table)


async def test_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """While an index is built it is not reorganized, and the other way round."""
    async with checked_db(limits=SMALL) as db:
        _, index = await skewed(db)
        async with index.rebuilding() as job:
            with pytest.raises(BusyError):
                await index.reorganize()
            await job.wait()
        async with trio.open_nursery() as nursery:
            proving, go_on = paused_at_the_proof(monkeypatch)
            nursery.start_soon(index.reorganize)
            await proving.wait()
            with pytest.raises(BusyError):
                await index.rebuild()
            with pytest.raises(BusyError):
                await index.reorganize()
            go_on.set()


async def test_a_row_that_is_lost_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """New segments that do not list what the old ones did never count."""
    async with checked_db(limits=SMALL) as db:
        table, index = await skewed(db)
        before = await centroids_of(db)
        encode = Rewriting._encoded

        async def losing(self: Rewriting, successor: Any, vids: Any, numbers: Any) -> Any:
            return await encode(self, successor, vids[1:], numbers[1:])

        with monkeypatch.context() as local:
            local.setattr(Rewriting, "_encoded", losing)
            with pytest.raises(RebuildRejected):
                await index.reorganize()
        assert await centroids_of(db) == before
        assert (await db.jobs())[0].state == "failed"
        await same_for_all(table)
        await db.vacuum()
        assert await leftovers(db) == []


async def test_drift_falls() -> None:
    """The distances that a reorganization saves show in the drift."""
    async with checked_db(limits=SMALL) as db:
        _, index = await skewed(db)
        before = (await index.statistics()).drift
        await index.reorganize()
        assert 0 < (await index.statistics()).drift < before
