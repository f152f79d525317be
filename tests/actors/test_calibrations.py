"""Calibrations: when rules are found, found anew, and left alone."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from centroidb import Database, Table, open_db
from centroidb.engine.actors import calibrations as module
from centroidb.engine.index.rules import Rules
from centroidb.engine.storage.calibrating import calibrate
from centroidb.wal.blocking import substitute
from tests.db.skewed import QUERIES, skewed
from tests.model.seam import inline
from tests.support.databases import SMALL, checked_db

from .points import damage, filled, points

N, NLIST = 300, 6
QUERY = points(1)[0] + np.float32(0.25)


class Recorder:
    """The calibration, which counts how often it is asked; it may last, or fail."""

    def __init__(self, *, lasts: bool = False) -> None:
        self.calls = 0
        self.go_on = trio.Event()
        if not lasts:
            self.go_on.set()

    async def __call__(self, *args: Any, **options: Any) -> Rules | None:
        """As `calibrate`."""
        self.calls += 1
        await self.go_on.wait()
        return await calibrate(*args, **options)


@pytest.fixture(autouse=True)
def one_task_at_a_time() -> Iterator[None]:
    """No threads: when all tasks are blocked, all work is done."""
    with substitute(inline(1)):
        yield


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """Counts the calibrations of a test."""
    made = Recorder()
    monkeypatch.setattr(module, "calibrate", made)
    return made


async def indexed(db: Database, n: int = N) -> Table:
    """A table of n rows with an index."""
    table = await filled(db, "t", n)
    await table.create_index("ix", nlist=NLIST)
    return table


async def search(table: Table) -> list[Any]:
    """The keys that a search for an accuracy finds; what it has set off is done then."""
    found = await table.search(QUERY, 5, accuracy=0.8)
    await wait_all_tasks_blocked()
    return list(found.ids)


async def test_a_search_that_is_cancelled_leaves_the_calibration_to_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever asks with less time than it takes still gets one in the end."""
    recorder = Recorder(lasts=True)
    monkeypatch.setattr(module, "calibrate", recorder)
    async with checked_db() as db, trio.open_nursery() as nursery:
        table = await indexed(db)
        nursery.start_soon(search, table)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await wait_all_tasks_blocked()
            recorder.go_on.set()
            await wait_all_tasks_blocked()
            await search(table)
            assert recorder.calls == 1


async def test_rules_are_left_alone_for_a_time(mock_clock: MockClock, recorder: Recorder) -> None:
    """However much is written, they are found anew no more than once a minute or so."""
    async with checked_db() as db:
        table = await indexed(db)
        for _ in range(5):
            await search(table)
            await table.upsert(range(N), points(N))
        assert recorder.calls == 1
        mock_clock.jump(module.REST_S + 1)
        for _ in range(2):
            await search(table)
        assert recorder.calls == 2


async def test_too_few_rows_are_noticed_once(mock_clock: MockClock, recorder: Recorder) -> None:
    """All partitions are probed then; it is tried again when rows have changed."""
    async with checked_db() as db:
        table = await indexed(db, 20)
        for _ in range(3):
            assert len(await search(table)) == 5
        assert recorder.calls == 1
        await table.upsert(range(20, N), points(N - 20))
        assert (await table.search(QUERY, 5, accuracy=0.5)).partitions_probed <= NLIST
        assert recorder.calls == 2


@pytest.mark.parametrize("read_only", [False, True])
async def test_a_damaged_index_costs_time_and_no_answers(
    tmp_path: Path,
    mock_clock: MockClock,
    recorder: Recorder,
    caplog: pytest.LogCaptureFixture,
    read_only: bool,
) -> None:
    """The answer is exact, the damage is said once, and not met again and again."""
    caplog.set_level(logging.WARNING)
    path = tmp_path / "t.db"
    async with open_db(path) as db:
        await indexed(db)
    damage(path, "UPDATE partitions SET codes = zeroblob(length(codes))")
    async with open_db(path, read_only=read_only) as db:
        table = await db.table("t")
        exact = (await table.search(QUERY, 5, exact=True)).ids
        for _ in range(3):
            assert await search(table) == exact
        assert recorder.calls == 1
        assert caplog.text.count("is not calibrated") == 1
        mock_clock.jump(module.FAILED_REST_S + 1)
        assert await search(table) == exact
        assert recorder.calls == 2


async def test_a_reorganization_has_its_own_rules(recorder: Recorder, tmp_path: Path) -> None:
    """Rules for partitions that are no more are not gone by, after an open neither."""
    path, query = tmp_path / "t.db", QUERIES[0]
    async with checked_db(path, limits=SMALL) as db:
        table, index = await skewed(db)
        await table.search(query, accuracy=0.8)
        done = await index.reorganize(partitions=1)
        assert done.split + done.merged == 1
        await table.search(query, accuracy=0.8)
        assert recorder.calls == 2
    async with checked_db(path, limits=SMALL) as db:
        await (await db.table("t")).search(query, accuracy=0.8)
        assert recorder.calls == 2


async def test_a_reader_takes_what_the_owner_has_found(
    tmp_path: Path, mock_clock: MockClock, recorder: Recorder
) -> None:
    """Beside an owner whose rows drift, a reader's rules do not stay behind."""
    path = tmp_path / "t.db"
    async with open_db(path) as owner, open_db(path, read_only=True) as reader:
        table = await indexed(owner)
        await search(table)
        await search(await reader.table("t"))
        assert recorder.calls == 1
        await table.upsert(range(N), points(N))
        mock_clock.jump(module.REST_S + 1)
        await search(table)
        assert recorder.calls == 2
        for _ in range(3):
            await search(await reader.table("t"))
        assert recorder.calls == 2
        await table.upsert(range(N), points(N))
        mock_clock.jump(module.REST_S + 1)
        for _ in range(3):
            await search(await reader.table("t"))
        assert recorder.calls == 3


async def test_an_old_snapshot_of_an_index_is_read_whole(recorder: Recorder) -> None:
    """Rules for a generation that was replaced are not found any more; nothing is missed."""
    async with checked_db() as db:
        table = await indexed(db)
        async with db.snapshot() as snapshot:
            await (await db.index("ix")).rebuild(nlist=9)
            for _ in range(2):
                hits = await snapshot.search("t", QUERY, 5, accuracy=0.5)
                assert hits.partitions_probed == NLIST
            assert recorder.calls == 0
            assert (await table.search(QUERY, 5, accuracy=0.5)).partitions_probed <= 9
            assert recorder.calls == 1
