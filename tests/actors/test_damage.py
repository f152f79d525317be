"""Damage in an index costs time, never answers, and a rebuild mends it."""

from pathlib import Path

import pytest

from centroidb import open_db
from tests.support.databases import SMALL, checked_db

from .points import ALL, damage, indexed, points

DAMAGES = {
    "centroids": "UPDATE centroids SET vectors = zeroblob(length(vectors))",
    "missing centroids": "DELETE FROM centroids",
    "segments": "UPDATE partitions SET codes = zeroblob(length(codes))",
    "a missing segment": "DELETE FROM partitions WHERE id = 1",
}


@pytest.mark.parametrize("statement", DAMAGES.values(), ids=DAMAGES.keys())
@pytest.mark.parametrize("read_only", [False, True])
async def test_searches_go_on(statement: str, read_only: bool, tmp_path: Path) -> None:
    """With a damaged index the file opens, by its owner and beside it, and searches are exact."""
    path = await _damaged(tmp_path, statement)
    async with open_db(path, read_only=read_only) as db:
        table = await db.table("t")
        for query in points(5):
            hits = await table.search(query, 300, nprobe=ALL)
            exact = await table.search(query, 300, exact=True)
            assert len(hits) == 300
            assert hits.ids == exact.ids


@pytest.mark.parametrize("statement", DAMAGES.values(), ids=DAMAGES.keys())
async def test_a_rebuild_mends_it(statement: str, tmp_path: Path) -> None:
    """`check` lists the damage; after a rebuild there is none, and the index is used again."""
    path = await _damaged(tmp_path, statement)
    async with checked_db(path, limits=SMALL) as db:
        assert (await db.check()).errors
        await (await db.index("t")).rebuild(nlist=9)
        await db.vacuum()
        hits = await (await db.table("t")).search(points(1)[0], 300, nprobe=ALL)
        assert len(hits) == 300
        assert hits.partitions_probed == 9


async def _damaged(folder: Path, statement: str) -> Path:
    path = folder / "t.db"
    async with checked_db(path) as db:
        await indexed(db, "t", 300)
    damage(path, statement)
    return path
