"""Values of other types than their columns have, as a damaged page gives them."""

import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import pytest

from centroidb import CorruptError, StorageError, open_db
from tests.errors.harness import filled_db, vectors

VALUES = {
    "key": ("rows_1", "key", "NULL"),
    "payload": ("rows_1", "payload", "7"),
    "vector": ("rows_1", "vector", "7"),
    "crc": ("rows_1", "crc", "NULL"),
    "lsn": ("rows_1", "lsn", "'x'"),
    "where a key leads": ("live_1", "vid", "NULL"),
    "partition": ("partitions", "centroid", "'x'"),
    "negative partition": ("partitions", "centroid", "-1"),
    "codes": ("partitions", "codes", "7"),
    "centroids": ("centroids", "vectors", "NULL"),
    "sum": ("tables", "sum", "NULL"),
    "dims": ("tables", "dim", "'x'"),
    "parameters": ("indexes", "parameters", "NULL"),
    "nested parameters": ("indexes", "parameters", f"'{'[' * 100_000}'"),
    "seal": ("generations", "segment_sum", "NULL"),
    "kind of a record": ("wal", "kind", "7"),
    "ended versions": ("wal", "ended", "NULL"),
    "job": ("jobs", "message", "NULL"),
    "next LSN": ("meta", "value", "NULL"),
}


def put(path: Path, table: str, column: str, value: str) -> None:
    """Set a column in all rows to a value that its STRICT table would not take."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        schema = "SELECT name, sql FROM sqlite_schema WHERE name = ?"
        ((_, strict),) = connection.execute(schema, (table,)).fetchall()
        loose = strict.replace("STRICT", "WITHOUT ROWID" if "ROWID" in strict else "")
        loose = loose.replace(", WITHOUT ROWID", "").replace("NOT NULL", "")
        _set_schema(connection, table, loose)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"UPDATE {table} SET {column} = {value}")
        assert connection.total_changes
        _set_schema(connection, table, strict)


def _set_schema(connection: sqlite3.Connection, table: str, statement: str) -> None:
    connection.execute("PRAGMA writable_schema = ON")
    connection.execute("UPDATE sqlite_schema SET sql = ? WHERE name = ?", (statement, table))


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())
@pytest.mark.parametrize("read_only", [False, True])
async def test_only_typed_errors(
    tmp_path: Path, value: tuple[str, str, str], read_only: bool
) -> None:
    """Whatever stands there, each call answers or says that the file is damaged."""
    path = tmp_path / "a.db"
    async with filled_db(path):
        pass
    put(path, *value)
    with pytest.raises(CorruptError):
        async with open_db(path, read_only=True, verify="full"):
            raise AssertionError("it was opened")
    with suppress(StorageError):
        async with open_db(path, read_only=read_only) as db:
            assert (await db.check()).errors
            table = await db.table("ints")
            with suppress(StorageError):
                await table.get([5], vectors=True)
            with suppress(StorageError):
                _ = [row async for row in table.iterate()]
            for exact in (False, True):
                with suppress(StorageError):
                    await table.search(vectors(1)[0], 3, exact=exact, nprobe=4)
            with suppress(StorageError):
                await db.jobs()


async def test_an_index_points_to_a_kept_generation(tmp_path: Path) -> None:
    """The page of the index is an old one: rows since then are not left out, and check tells."""
    path = tmp_path / "a.db"
    async with filled_db(path) as db:
        table = await db.table("ints")
        await (await db.index("ix")).rebuild(nlist=3, keep_previous=1)
        await table.upsert(1_000, vectors(1)[0])
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(
            "UPDATE indexes SET active = (SELECT id FROM generations WHERE state = 'kept')"
        )
    async with open_db(path) as db:
        hits = await (await db.table("ints")).search(vectors(1)[0], 2, nprobe=4)
        assert 1_000 in hits.ids
        assert (await db.check()).errors
