"""What a calibration looks at: the rows drawn as queries, and the segments, some at a time."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from centroidb import open_db
from centroidb.engine.actors.view import View
from centroidb.engine.index.codec import CodecName
from centroidb.engine.index.kept_out import kept_out
from centroidb.engine.storage import calibrating, drawing
from centroidb.engine.storage.calibrating import calibrate
from centroidb.engine.storage.drawing import draw
from centroidb.wal.vectors import VectorBlock
from tests.support.databases import SMALL, checked_db

from .data import DIM, clustered, filed

N = 2_000
VIDS = np.arange(1, N + 1)


async def drawn(view: View, size: int) -> list[int]:
    """The versions that are drawn."""
    table = view.table("t")
    assert table is not None
    ask = partial(draw, table=table, visibility=view.visibility(table), seed=1, size=size)
    block: VectorBlock = await view.read(ask)
    found: list[int] = block.vids.tolist()
    return found


async def test_rows_that_k_means_has_not_seen_are_drawn() -> None:
    """If there are enough of them, and each time the same."""
    async with checked_db() as db:
        table = await db.create_table("t", dim=DIM)
        await table.upsert(range(N), clustered(N))
        async with db._view() as view:
            some = await drawn(view, 40)
            assert len(some) == 40
            assert kept_out(np.array(some)).all()
            assert await drawn(view, 40) == some
            many = await drawn(view, 400)
            assert len(many) == 400
            assert not kept_out(np.array(many)).all()


async def test_rows_are_drawn_where_most_versions_are_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an open nothing tells which versions were purged; those that are left are found."""
    async with checked_db(tmp_path / "t.db") as db:
        table = await db.create_table("t", dim=DIM)
        await table.upsert(range(N), clustered(N))
        await table.delete(range(60, N))
        await db.vacuum()
    monkeypatch.setattr(drawing, "DRAWN_A_QUERY", 1)
    monkeypatch.setattr(drawing, "LOOKED_UP_A_QUERY", 1)
    async with open_db(tmp_path / "t.db") as db, db._view() as view:
        assert len(await drawn(view, 50)) == 50
        assert await drawn(view, 500) == VIDS[:60].tolist()


@pytest.mark.parametrize("codec", ["flat", "sq8"])
async def test_a_calibration_in_pieces_is_the_same(
    codec: CodecName, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However few segments a step reads, and rows it compares at once."""
    async with checked_db(limits=SMALL) as db:
        table = await db.create_table("t", dim=DIM)
        await table.upsert(range(200), clustered(N)[:200])
        index = await table.create_index("ix", nlist=4, codec=codec)
        for start in range(200, N, 200):
            await table.upsert(range(start, start + 200), clustered(N)[start : start + 200])
            await filed(index)
        found = []
        async with db._view() as view:
            (pinned,) = view.indexes.values()
            assert pinned.generation is not None
            row = view.table_with(pinned.row.table)
            for rows in (N, 50):
                monkeypatch.setattr(calibrating, "ROWS_A_STEP", rows)
                monkeypatch.setattr(calibrating, "ROWS_AT_ONCE", rows)
                manifest = pinned.generation.manifest()
                steps = list(calibrating._steps(manifest))
                pinned.generation.unpin(manifest)
                assert (len(steps) > 4) == (rows == 50)
                found.append(
                    await calibrate(view.read, row, view.visibility(row), pinned.generation)
                )
        first, second = found
        assert first is not None
        assert second is not None
        for one, other in zip(first.rules, second.rules, strict=True):
            np.testing.assert_allclose(one.thresholds, other.thresholds, atol=1e-6)
        np.testing.assert_allclose(first.spread.squares, second.spread.squares, rtol=1e-9)
