"""Damaged rows, indexes and catalogs: a typed error or the right answer, never a wrong one."""

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
import trio

from centroidb import (
    BusyError,
    CorruptError,
    Database,
    StorageError,
    Table,
    open_db,
)
from tests.errors.harness import vectors

N = 300
DIM = 8
QUERY = vectors(N, DIM)[5]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a database with an index, in which key 5 is the row version 6."""
    path = tmp_path_factory.mktemp("good") / "a.db"

    async def make() -> None:
        async with open_db(path) as db:
            table = await db.create_table("t", dim=DIM)
            await table.upsert(range(N), vectors(N, DIM), [{"n": n, "s": "é"} for n in range(N)])
            await table.create_index("ix", nlist=6)
            await table.delete(range(250, 260))

    trio.run(make)
    return path.read_bytes()


@asynccontextmanager
async def damaged(
    tmp_path: Path, good: bytes, script: str
) -> AsyncIterator[tuple[Database, Table]]:
    """The database after a change behind its back."""
    path = tmp_path / "a.db"
    path.write_bytes(good)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript(script)
    assert connection.total_changes
    connection.close()
    async with open_db(path) as db:
        yield db, await db.table("t")


async def brute_force(table: Table) -> list[int]:
    """The five keys nearest to `QUERY`, by the rows there are."""
    rows = [row async for row in table.iterate(vectors=True)]
    distances = [float(np.linalg.norm(row.vector - QUERY)) for row in rows]
    return [int(rows[at].id) for at in np.argsort(distances)[:5]]


ROW = {
    "payload": "UPDATE rows_1 SET payload = '{' WHERE vid = 6",
    "payload, still JSON": "UPDATE rows_1 SET payload = '{\"n\":6}' WHERE vid = 6",
    "payload, no text": "UPDATE rows_1 SET payload = CAST(x'7bff7d' AS TEXT) WHERE vid = 6",
    "payload gone": "UPDATE rows_1 SET payload = NULL WHERE vid = 6",
    "key": "UPDATE rows_1 SET key = 4005 WHERE vid = 6",
    "crc": "UPDATE rows_1 SET crc = crc + 1 WHERE vid = 6",
    "a byte of the vector": "UPDATE rows_1 SET "
    "vector = CAST(substr(vector, 1, 31) || x'3e' AS BLOB) WHERE vid = 6",
}


@pytest.mark.parametrize("script", ROW.values(), ids=ROW.keys())
async def test_a_damaged_row_is_not_returned(tmp_path: Path, good: bytes, script: str) -> None:
    """Reading it is CorruptError, however it is reached; other rows can be read and written."""
    async with damaged(tmp_path, good, script) as (db, table):
        with pytest.raises(CorruptError):
            await table.get(5, vectors=True)
        with pytest.raises(CorruptError):
            _ = [row async for row in table.iterate()]
        assert any("row version 6" in error for error in (await db.check()).errors)

        others = await table.get([n for n in range(200) if n != 5])
        assert [row.payload["n"] for row in others] == [n for n in range(200) if n != 5]
        far = vectors(N, DIM)[100]
        assert (await table.search(far, k=1, nprobe=6)).ids == [100]
        if script != ROW["a byte of the vector"]:
            assert (await table.search(far, k=1, exact=True)).ids == [100]
        await table.upsert(1_000, far)
        assert await table.get(1_000) is not None


@pytest.mark.parametrize("script", ROW.values(), ids=ROW.keys())
@pytest.mark.parametrize("exact", [False, True])
async def test_a_damaged_row_is_no_hit(
    tmp_path: Path, good: bytes, script: str, exact: bool
) -> None:
    """A search that finds it says that it is damaged, instead of showing what it holds."""
    async with damaged(tmp_path, good, script) as (_, table):
        with pytest.raises(CorruptError):
            await table.search(QUERY, k=3, nprobe=6, exact=exact)


async def test_a_damaged_row_is_no_trouble_to_others(
    tmp_path: Path, good: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Measured beside a hit, but not among the nearest, its payload is not looked at."""
    async with damaged(tmp_path, good, ROW["payload"]) as (_, table):
        vector = (await table.get(6, vectors=True)).vector
        assert (await table.search(vector, k=1, nprobe=6)).ids == [6]
    assert not [each for each in caplog.records if "searching exactly" in each.message]


@pytest.mark.parametrize("exact", [False, True])
async def test_a_damaged_vector_is_not_taken_for_a_far_one(
    tmp_path: Path, good: bytes, exact: bool
) -> None:
    """A vector that damage moved away from the query is CorruptError, not a hit the less."""
    script = "UPDATE rows_1 SET vector = (SELECT vector FROM rows_1 WHERE vid = 101) WHERE vid = 6"
    async with damaged(tmp_path, good, script) as (_, table):
        for _search in range(3):  # the first reads codes, later ones the vectors too
            with pytest.raises(CorruptError, match="row version 6 does not match its checksum"):
                await table.search(QUERY, k=3, nprobe=6, exact=exact)


async def test_a_damaged_row_can_be_replaced(tmp_path: Path, good: bytes) -> None:
    """Writing the key again mends it: the damaged version is ended, and purged by a vacuum."""
    script = ROW["payload"]
    async with damaged(tmp_path, good, script) as (db, table):
        await table.upsert(5, QUERY, {"n": 5})
        assert (await table.search(QUERY, k=1, nprobe=6)).ids == [5]
        await db.vacuum()
        assert (await table.get(5)).payload == {"n": 5}
        errors = (await db.check()).errors
        assert not [error for error in errors if "row version 6" in error]


async def test_a_lost_row_is_missed(tmp_path: Path, good: bytes) -> None:
    """A row that is gone is CorruptError by its key, and a rebuild does not take that for right."""
    script = "DELETE FROM rows_1 WHERE vid = 6"
    async with damaged(tmp_path, good, script) as (db, table):
        with pytest.raises(CorruptError, match="table 't': row version 6 is missing"):
            await table.get(5)
        with pytest.raises(
            CorruptError, match="table 't': 289 of the 290 rows at LSN 4 are stored"
        ):
            await (await db.index("ix")).rebuild()
        assert any("missing" in error for error in (await db.check()).errors)


async def test_keys_that_lead_to_each_others_rows(tmp_path: Path, good: bytes) -> None:
    """A key that leads to another key's row is CorruptError, not that row."""
    script = "UPDATE live_1 SET vid = 13 - vid WHERE key IN (5, 6)"
    async with damaged(tmp_path, good, script) as (db, table):
        with pytest.raises(CorruptError, match="key 5 leads to another's row"):
            await table.get(5)
        assert any("another's row" in error for error in (await db.check()).errors)


INDEX = {
    "codes": "UPDATE partitions SET codes = zeroblob(length(codes) + 1) WHERE id = 2",
    "vids": "UPDATE partitions SET vids = zeroblob(length(vids)) WHERE id = 2",
    "all segments": "UPDATE partitions SET row_crcs = zeroblob(length(row_crcs))",
    "filed elsewhere": "UPDATE partitions SET centroid = (centroid + 1) % 6 WHERE id = 2",
    "centroids": "UPDATE centroids SET vectors = zeroblob(length(vectors))",
    "centroids lost": "DELETE FROM centroids",
    "generation lost": "DELETE FROM generations",
    "another generation": "UPDATE indexes SET active = 99",
    "nlist": "UPDATE generations SET nlist = 1000000000",
    "rows of a segment": "UPDATE partitions SET n = 1 << 40 WHERE id = 2",
    "no such partition": "UPDATE partitions SET centroid = 1 << 40 WHERE id = 2",
    "fold position": "UPDATE generations SET fold_vid = -(1 << 62)",
    "codec": "UPDATE generations SET codec = 'flau'",
    "metric": "UPDATE generations SET metric = 'l3'",
}


@pytest.mark.parametrize("script", INDEX.values(), ids=INDEX.keys())
async def test_a_damaged_index_costs_time_not_answers(
    tmp_path: Path, good: bytes, script: str
) -> None:
    """Searches answer as brute force does, the check tells, and a rebuild mends it."""
    async with damaged(tmp_path, good, script) as (db, table):
        expected = await brute_force(table)
        for options in ({"nprobe": 6}, {"exact": True}, {"index": "ix", "nprobe": 6}):
            assert (await table.search(QUERY, k=5, **options)).ids == expected
        await table.upsert(1_000, QUERY)
        assert 1_000 in (await table.search(QUERY, k=2, nprobe=6)).ids

        index = await db.index("ix")
        with suppress(BusyError):  # the Monitor may have begun to mend it by itself
            await index.rebuild(nlist=6)
        while not await index.partitions():
            await trio.lowlevel.checkpoint()
        assert 1_000 in (await table.search(QUERY, k=2, nprobe=6)).ids
        assert (await db.check()).errors == ()


TOLD = {name: script for name, script in INDEX.items() if name not in ("codec", "metric")}


@pytest.mark.parametrize("script", TOLD.values(), ids=TOLD.keys())
async def test_checking_tells_of_a_damaged_index(tmp_path: Path, good: bytes, script: str) -> None:
    """`check()` names what is wrong with the index, and raises nothing."""
    async with damaged(tmp_path, good, script) as (db, _):
        assert (await db.check()).errors


CATALOG = {
    "metric of a table": "UPDATE tables SET metric = 'l3'",
    "metric of an index": "UPDATE indexes SET metric = 'l3'",
    "parameters": "UPDATE indexes SET parameters = '{'",
    "parameters no text": "UPDATE indexes SET parameters = CAST(x'ff' AS TEXT)",
    "an index of no table": "UPDATE indexes SET table_id = 99",
    "a death of no row": "UPDATE dead_1 SET vid = 5000 WHERE vid = 251",
    "next LSN": "UPDATE meta SET value = 'x' WHERE key = 'next_lsn'",
    "clean": "UPDATE meta SET value = NULL WHERE key = 'clean'",
    "next vid": "UPDATE tables SET next_vid = 100",
    "dims": "UPDATE tables SET dim = 7",
    "endless versions": "UPDATE tables SET next_vid = 1 << 62",
    "a death far away": "UPDATE dead_1 SET vid = 1 << 62 WHERE vid = 251",
    "negative LSN": "UPDATE meta SET value = -(1 << 62) WHERE key = 'next_lsn'",
    "key type": "UPDATE tables SET key_type = 'str'",
    "more rows than versions": "UPDATE tables SET live = (1 << 62) + ((1 << 62) - 1)",
}


@pytest.mark.parametrize("script", CATALOG.values(), ids=CATALOG.keys())
async def test_a_damaged_catalog_is_refused(tmp_path: Path, good: bytes, script: str) -> None:
    """What says how to read the rows must make sense: else the open is CorruptError."""
    with pytest.raises(CorruptError):
        async with damaged(tmp_path, good, script):
            raise AssertionError("not reached")


CHECKED = {
    "live rows": "UPDATE tables SET live = 7",
    "sum": "UPDATE tables SET sum = zeroblob(16)",
    "a death lost": "DELETE FROM dead_1 WHERE vid = 252",
    "a key lost": "DELETE FROM live_1 WHERE key = 5",
}


@pytest.mark.parametrize("script", CHECKED.values(), ids=CHECKED.keys())
async def test_what_only_a_check_can_tell(tmp_path: Path, good: bytes, script: str) -> None:
    """Counters and sums that disagree with the rows are found by `check()`."""
    async with damaged(tmp_path, good, script) as (db, _):
        assert (await db.check()).errors


def flip(raw: bytearray, rng: np.random.Generator) -> None:
    """Flip one bit."""
    raw[int(rng.integers(100, len(raw)))] ^= 1 << int(rng.integers(8))


def zero_page(raw: bytearray, rng: np.random.Generator) -> None:
    """Zero one page, but the first."""
    page = int(rng.integers(1, len(raw) // 16_384))
    raw[page * 16_384 : (page + 1) * 16_384] = bytes(16_384)


@pytest.mark.parametrize("harm", [flip, zero_page])
@pytest.mark.parametrize("seed", range(15))
async def test_random_damage(
    tmp_path: Path, good: bytes, harm: Callable[[bytearray, np.random.Generator], None], seed: int
) -> None:
    """After a flipped bit or a zeroed page every row read is right, or the error is typed."""
    raw = bytearray(good)
    harm(raw, np.random.default_rng(seed))
    path = tmp_path / "a.db"
    path.write_bytes(raw)
    with suppress(StorageError):
        async with open_db(path) as db:
            table = await db.table("t")
            for key in range(0, N, 7):
                with suppress(StorageError):
                    await require_right(table, key)
            with suppress(StorageError):
                for hit in await table.search(QUERY, k=5, nprobe=6):
                    assert hit.payload == {"n": hit.id, "s": "é"}
            with suppress(StorageError):
                await db.check()
            await table.upsert(5, QUERY)


async def require_right(table: Table, key: int) -> None:
    """The row of a key is as it was written, if there is one."""
    row = await table.get(key, vectors=True)
    if row is not None:
        assert row.payload == {"n": key, "s": "é"}
        assert np.array_equal(row.vector, vectors(N, DIM)[key])
