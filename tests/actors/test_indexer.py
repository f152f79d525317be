"""The Indexer: a fold that finds no room waits for some, and leaves nothing that counts."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from centroidb import DiskFullError, Limits
from centroidb.engine.storage import folding
from centroidb.wal import catalog
from tests.support.databases import checked_db
from tests.support.leftovers import leftovers

from .points import ALL, fail_once, filed, indexed, points, set_room, supervisor_of, until

FOLDS_LATE = Limits(delta_rows=2_000)
DIM = 48
FEW = 10
"""Pages: a commit of ten rows needs fewer, a fold of 2,000 rows more."""


async def test_a_fold_on_a_full_disk_goes_on_later(caplog: pytest.LogCaptureFixture) -> None:
    """A fold that the disk has no room for stops nothing, and is made when there is room."""
    async with checked_db(limits=FOLDS_LATE) as db:
        table, index = await indexed(db, "t", 100, dim=DIM)
        (generation,) = supervisor_of(db).state.generations(table._id)
        await table.upsert(range(1_000, 2_990), points(1_990, DIM))
        await filed(db)
        await set_room(db, FEW)
        await table.upsert(range(5_000, 5_010), points(10, DIM))
        await until(lambda: "folding: writing: the disk is full" in caplog.text)
        assert len(await table.search(points(1, DIM)[0], 3_000, nprobe=ALL)) == 2_100
        assert (await index.statistics()).delta_rows == 2_000
        await set_room(db, 1_000_000)
        await table.upsert(0, points(1, DIM)[0])
        await until(lambda: len(generation.delta) <= 1)  # the last row comes before it or after


async def test_a_fold_that_failed_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Segments staged by a fold that was not sealed never come to count."""
    async with checked_db(tmp_path / "t.db", limits=FOLDS_LATE) as db:
        table, _ = await indexed(db, "t", 300)
        await table.upsert(range(300, 400), points(100))
        await filed(db)
        sealing = SimpleNamespace(**vars(catalog))
        monkeypatch.setattr(folding, "catalog", sealing)
        fail_once(monkeypatch, sealing, "set_seal")
        with pytest.raises(DiskFullError, match="once"):
            await db.vacuum()
        await db.vacuum()
        assert await leftovers(db) == []
    async with checked_db(tmp_path / "t.db") as db:
        hits = await (await db.table("t")).search(points(1)[0], 900, nprobe=ALL)
        assert len(hits) == len(set(hits.ids)) == 400
