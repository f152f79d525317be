"""The Sweeper: what it takes away is nobody's, and a failure of it is not the end."""

from pathlib import Path

import pytest
import trio

from centroidb import Database, DiskFullError, Table
from centroidb.engine.actors.sweeper import Sweeper
from centroidb.engine.storage import folding
from centroidb.wal import rows
from tests.support.databases import SMALL, checked_db
from tests.support.leftovers import leftovers

from .points import (
    ALL,
    damage,
    fail_once,
    filed,
    filled,
    indexed,
    points,
    supervisor_of,
    until,
)


async def test_a_purge_leaves_other_tables_alone() -> None:
    """Purging one table takes no rows out of another's generation that a snapshot holds."""
    async with checked_db() as db:
        other = await filled(db, "other", 900)
        _, index = await indexed(db, "held", 900)
        await other.delete(range(0, 900, 2))
        async with db.snapshot() as snapshot:
            await index.rebuild(seed=3)
            await db.vacuum()
            hits = await snapshot.search("held", points(1)[0], 900, nprobe=ALL)
            assert hits.partitions_probed == 9
            assert sorted(hits.ids) == list(range(900))


async def test_a_compaction_that_failed_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Segments staged by a compaction that was not sealed never come to count."""
    async with checked_db(tmp_path / "t.db") as db:
        table, _ = await indexed(db, "t", 900)
        await table.delete(range(0, 900, 9))
        fail_once(monkeypatch, Sweeper, "_seal")
        with pytest.raises(DiskFullError, match="once"):
            await db.vacuum()
        assert (await table.statistics()).ended == 100
        await db.vacuum()
        assert await leftovers(db) == []
    async with checked_db(tmp_path / "t.db") as db:
        hits = await (await db.table("t")).search(points(1)[0], 900, nprobe=ALL)
        assert len(hits) == len(set(hits.ids)) == 800


async def test_a_sweep_on_a_full_disk_goes_on_later(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A sweep that meets a full disk stops nothing, and the next one ends its work."""
    async with checked_db(limits=SMALL) as db:
        table = await filled(db, "t", 100)
        fail_once(monkeypatch, rows, "purge")
        await table.delete(range(SMALL.purge_rows))
        await until(lambda: "sweeping: no room, once" in caplog.text)
        await table.upsert(1, points(1)[0])
        await db.vacuum()
        assert (await table.statistics()).ended == 0


async def test_a_damaged_segment_holds_a_purge_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Rows stay until a rebuild has replaced a segment that can not be read; writes go on."""
    path = tmp_path / "t.db"
    async with checked_db(path) as db:
        await indexed(db, "t", 300)
    damage(path, "UPDATE partitions SET codes = zeroblob(length(codes)) WHERE id = 1")
    async with checked_db(path, limits=SMALL) as db:
        table = await db.table("t")
        await table.delete(range(SMALL.purge_rows))
        await until(lambda: "wrong checksum; a rebuild mends it" in caplog.text)
        await table.upsert(1, points(1)[0])
        assert (await table.statistics()).ended >= SMALL.purge_rows
        await (await db.index("t")).rebuild()
        await db.vacuum()
        assert (await table.statistics()).ended == 0


async def test_an_idle_index_does_not_keep_the_log() -> None:
    """The log of other tables is cut although an indexed table gets no rows."""
    async with checked_db(limits=SMALL) as db:
        await indexed(db, "idle", 100)
        busy = await filled(db, "busy", 1)
        for _ in range(50):
            await busy.upsert(0, points(1)[0])
        await db.vacuum()
        assert (await db.statistics()).log_records == 0


async def test_commits_wake_it_only_for_what_can_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a snapshot holds all ended rows, commits do not ask for sweeps in vain."""
    async with checked_db(limits=SMALL) as db:
        table = await filled(db, "t", 100)
        wakes: list[Sweeper] = []
        monkeypatch.setattr(Sweeper, "wake", lambda self: wakes.append(self))
        async with db.snapshot():
            for _ in range(3):
                await table.upsert(range(SMALL.purge_rows), points(SMALL.purge_rows))
            assert not wakes
        await table.upsert(0, points(1)[0])
        assert wakes


async def test_a_fold_under_way_hides_nothing_from_a_compaction(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ended rows that a fold writes into an empty partition are compacted out again."""
    async with checked_db() as db:
        table = await _with_an_empty_partition(db)
        await table.upsert(range(200, 230), points(30) + 100)
        await filed(db)
        await table.delete(range(200, 205))
        go_on = trio.Event()
        _hold_stage(monkeypatch, go_on)
        supervisor = supervisor_of(db)
        (generation,) = supervisor.state.generations(table._id)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(supervisor.indexer.fold, generation)
            await until(lambda: go_on.statistics().tasks_waiting == 1)
            nursery.start_soon(_sweep, supervisor.sweeper)
            await until(lambda: supervisor.state.maintenance.statistics().tasks_waiting == 1)
            go_on.set()
        assert await leftovers(db) == []


async def _with_an_empty_partition(db: Database) -> Table:
    """Its index has two partitions, far apart; the second has no segment any more."""
    table = await db.create_table("t", dim=3)
    await table.upsert(range(50), points(50))
    await table.upsert(range(100, 150), points(50) + 100)
    await table.create_index("t", nlist=2)
    await table.delete(range(100, 150))
    await db.vacuum()
    return table


def _hold_stage(monkeypatch: pytest.MonkeyPatch, go_on: trio.Event) -> None:
    """Folds wait for the event when they have chosen their rows."""
    stage = folding.stage

    async def waiting(*args: object) -> object:
        await go_on.wait()
        return await stage(*args)  # type: ignore[arg-type]  # as they came

    monkeypatch.setattr(folding, "stage", waiting)


async def _sweep(sweeper: Sweeper) -> None:
    await sweeper.sweep(thorough=True)
