"""Damage in an index costs time, never answers, and a rebuild mends it."""

from pathlib import Path

import pytest

from centroidb import CorruptError, open_db
from tests.support.databases import SMALL, checked_db

from .points import ALL, damage, indexed, points

FAR_AWAY = (
    "CAST(replace(hex(zeroblob(length(vids) / 16)), '0', char(1, 1, 1, 1, 1, 1, 1, 1)) AS BLOB)"
)
"""As many row versions, none of which there can be yet."""

DAMAGES = {
    "centroids": "UPDATE centroids SET vectors = zeroblob(length(vectors))",
    "missing centroids": "DELETE FROM centroids",
    "segments": "UPDATE partitions SET codes = zeroblob(length(codes))",
    "row versions cut off": "UPDATE partitions SET vids = zeroblob(7) WHERE id = 1",
    "row versions of zero": "UPDATE partitions SET vids = zeroblob(length(vids)) WHERE id = 1",
    "row versions far away": f"UPDATE partitions SET vids = {FAR_AWAY} WHERE id = 1",
    "checksums cut off": "UPDATE partitions SET row_crcs = zeroblob(4) WHERE id = 1",
    "another partition": "UPDATE partitions SET centroid = 1 << 40 WHERE id = 1",
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


@pytest.mark.parametrize(
    "columns", ["vids = zeroblob(7)", f"vids = {FAR_AWAY}", "row_crcs = zeroblob(4)"]
)
async def test_a_damaged_generation_is_not_brought_back(columns: str, tmp_path: Path) -> None:
    """A rollback to a generation that is damaged is refused, and the index stays as it is."""
    path = tmp_path / "t.db"
    async with checked_db(path, limits=SMALL) as db:
        await indexed(db, "t", 300)
        await (await db.index("t")).rebuild(nlist=9, keep_previous=1)
    kept = "(SELECT id FROM generations WHERE state = 'kept')"
    damage(path, f"UPDATE partitions SET {columns} WHERE generation = {kept}")
    async with open_db(path, limits=SMALL) as db:
        with pytest.raises(CorruptError, match="segment"):
            await (await db.index("t")).rollback()
        hits = await (await db.table("t")).search(points(1)[0], 300, nprobe=ALL)
        assert len(hits) == 300
        assert hits.partitions_probed == 9


async def _damaged(folder: Path, statement: str) -> Path:
    path = folder / "t.db"
    async with checked_db(path) as db:
        await indexed(db, "t", 300)
    damage(path, statement)
    return path
