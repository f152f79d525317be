"""What a bulk write had written before its error: exactly what the error says."""

import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trio

from centroidb import (
    CentroiDBError,
    Database,
    DuplicateKeyError,
    InputError,
    NotFoundError,
    WriteResult,
)
from centroidb.engine.actors import committer
from centroidb.txn.group import write_group
from tests.errors.harness import filled_db, unchanged, vectors

N = 400
"""Rows of 3 dims: some twenty chunks under the limits of these tests."""


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    """A filled database."""
    async with filled_db(tmp_path / "a.db") as made:
        yield made


def dict_rows(bad: int, value: Any) -> Iterator[dict[str, Any]]:
    """Rows as mappings, one of which is wrong."""
    for row, vector in enumerate(vectors(N)):
        yield {"id": 1_000 + row, "vector": value if row == bad else vector, "payload": row}


def written(error: CentroiDBError) -> WriteResult:
    """What the error says was written."""
    assert isinstance(error.written, WriteResult)
    return error.written


async def test_a_bad_row_in_arrays_writes_nothing(db: Database) -> None:
    """Arrays are checked whole before the first of their chunks is committed."""
    table = await db.table("ints")
    rows = vectors(N)
    rows[-1, 0] = np.nan
    async with unchanged(db):
        with pytest.raises(InputError, match=f"row {N - 1}") as caught:
            await table.upsert(range(1_000, 1_000 + N), rows)
    assert caught.value.written in (None, WriteResult())


@pytest.mark.parametrize("bad", [0, 1, 50, N // 2, N - 1])
async def test_a_bad_row_of_an_iterable(db: Database, bad: int) -> None:
    """Of an iterable the chunks before the bad row are in, whole, and the error says how many."""
    table = await db.table("ints")
    with pytest.raises(InputError, match="got nan") as caught:
        await table.upsert(dict_rows(bad, [1, np.nan, 3]))

    done = written(caught.value)
    assert await table.count() == 60 + done.inserted
    assert done.inserted <= bad
    assert bad - done.inserted < 40
    found = await table.get(range(1_000, 1_000 + N))
    assert [row is not None for row in found] == [row < done.inserted for row in range(N)]
    if done.inserted:
        assert "was committed" in caught.value.__notes__[0]


async def test_a_bad_row_read_while_a_commit_runs(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bad row that is read in the middle of a commit lets that commit end, and counts it."""
    table = await db.table("ints")
    reached = threading.Event()

    def rows() -> Iterator[dict[str, Any]]:
        for row in dict_rows(30, [1, np.nan, 3]):
            if row["payload"] == 30:
                reached.set()
            yield row

    def held(*args: Any) -> Any:
        reached.wait()
        return write_group(*args)

    monkeypatch.setattr(committer, "write_group", held)
    with pytest.raises(InputError, match="got nan") as caught:
        await table.upsert(rows())

    assert written(caught.value).inserted > 0
    assert await table.count() == 60 + written(caught.value).inserted


async def test_an_iterable_that_fails(db: Database) -> None:
    """An exception of the caller's own iterable comes out as itself; what is in stays in."""

    def rows() -> Iterator[dict[str, Any]]:
        yield from dict_rows(-1, None)
        raise ZeroDivisionError

    table = await db.table("ints")
    with pytest.raises(ZeroDivisionError):
        await table.upsert(rows())

    assert 60 < await table.count() <= 60 + N
    assert (await table.get(1_000)).payload == 0


async def test_a_duplicate_in_a_later_chunk(db: Database) -> None:
    """An insert stops at the chunk with a key that is there; the error says what is in."""
    table = await db.table("ints")
    keys = [*range(1_000, 1_000 + N - 1), 5]
    with pytest.raises(DuplicateKeyError, match="key 5 is there already") as caught:
        await table.insert(keys, vectors(N))

    done = written(caught.value)
    assert 0 < done.inserted < N
    assert await table.count() == 60 + done.inserted
    assert await table.get(1_000 + done.inserted - 1) is not None
    assert await table.get(1_000 + done.inserted) is None


async def test_a_missing_key_in_a_later_chunk(db: Database) -> None:
    """An update of payloads stops at the chunk with a key that is not there."""
    table = await db.table("ints")
    await table.upsert(range(1_000, 1_000 + N), vectors(N))
    keys = [*range(1_000, 1_000 + N), 77_777]
    with pytest.raises(NotFoundError, match="no row with key 77777") as caught:
        await table.update_payloads(keys, ["new"] * (N + 1))

    done = written(caught.value)
    found = await table.get(range(1_000, 1_000 + N))
    changed = [row.payload == "new" for row in found]
    assert sum(changed) == done.updated
    assert changed == sorted(changed, reverse=True)


async def test_each_chunk_has_its_own_idempotency_key(db: Database) -> None:
    """A bulk write that was cut short goes on where it stopped when it is called again."""
    table = await db.table("ints")
    keys = list(range(1_000, 1_000 + N))
    with pytest.raises(DuplicateKeyError) as caught:
        await table.insert([*keys[:-1], 5], vectors(N), idempotency_key="load")
    first = written(caught.value).inserted

    result = await table.insert(keys, vectors(N), idempotency_key="load")

    assert 0 < first < N
    assert result.inserted == N
    assert await table.count() == 60 + N


async def test_a_table_dropped_in_the_middle(db: Database) -> None:
    """A bulk write whose table is dropped meanwhile is NotFoundError, with what it had written."""
    table = await db.table("ints")
    caught: list[NotFoundError] = []

    async def load() -> None:
        try:
            await table.upsert(np.arange(1_000, 41_000), vectors(40_000))
        except NotFoundError as error:
            caught.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(load)
        while await table.count() < 100:
            await trio.lowlevel.checkpoint()
        await db.drop_table("ints")

    (error,) = caught
    assert "was dropped" in str(error)
    assert 40 <= written(error).inserted < 40_000
    assert [each.name for each in await db.tables()] == ["texts"]
