"""Writing and reading rows, in all the forms that are taken."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from centroidb import DuplicateKeyError, InputError, NotFoundError, Row, Table, WriteResult
from centroidb.wal.types import Lsn
from tests.support.databases import SMALL, checked_db

from .data import DIM, clustered, filled

ONE, TWO = clustered(2)


async def rows_of(table: Table) -> dict[Any, tuple[Any, bytes]]:
    """Every row: payload and vector by key."""
    rows = [row async for row in table.iterate(vectors=True)]
    return {row.id: (row.payload, row.vector.tobytes()) for row in rows if row.vector is not None}


ROWS = [(1, ONE, "one"), (2, TWO, None)]
EXPECTED = {1: ("one", ONE.tobytes()), 2: (None, TWO.tobytes())}


FORMS: dict[str, Callable[[], tuple[Any, ...]]] = {
    "lists": lambda: ([1, 2], [ONE.tolist(), TWO.tolist()], ["one", None]),
    "tuples": lambda: ((1, 2), (ONE, TWO), ("one", None)),
    "arrays": lambda: (np.array([1, 2]), np.array([ONE, TWO], np.float64), ["one", None]),
    "other order in memory": lambda: (range(1, 3), np.asfortranarray([ONE, TWO]), ["one", None]),
    "iterators": lambda: (iter([1, 2]), [ONE, TWO], iter(["one", None])),
    "mappings": lambda: (
        [{"id": 1, "vector": ONE, "payload": "one"}, {"id": 2, "vector": TWO.tolist()}],
    ),
    "generator": lambda: (({"id": i, "vector": v, "payload": p} for i, v, p in ROWS),),
}


@pytest.mark.parametrize("method", ["upsert", "insert"])
@pytest.mark.parametrize("form", FORMS)
async def test_many_rows_in_every_form(method: str, form: str) -> None:
    """Rows are the same whether they come as lists, arrays, iterators or mappings."""
    async with checked_db() as db:
        table = await db.create_table("t", dim=DIM)
        result = await getattr(table, method)(*FORMS[form]())
        assert (result.inserted, result.updated, result.deleted) == (2, 0, 0)
        assert await rows_of(table) == EXPECTED


async def test_one_row() -> None:
    """A key, a vector and a payload are one row; a payload may be any JSON."""
    async with checked_db() as db:
        table = await db.create_table("t", dim=DIM)
        await table.upsert(np.int64(1), ONE, "one")
        await table.insert(2, TWO.tolist())
        assert await rows_of(table) == EXPECTED
        for payload in ({"a": [1, {"b": None}]}, [1, 2], 3, 4.5, True, "é\n", {}, []):
            await table.upsert(3, ONE, payload)
            assert (await table.get(3)).payload == payload


async def test_text_keys() -> None:
    """Keys may be texts, which are not taken apart."""
    async with checked_db() as db:
        table = await db.create_table("t", dim=DIM, key_type="str")
        await table.upsert(["ab", "ä", ""], [ONE, TWO, ONE])
        await table.upsert("ab", TWO)
        assert (await table.get("ab", vectors=True)).vector.tobytes() == TWO.tobytes()
        assert [row.id async for row in table.iterate()] == ["ä", "", "ab"]
        assert (await table.delete("ab")).deleted == 1
        with pytest.raises(InputError, match="expected a key of type str, got int"):
            await table.upsert([1], [ONE])


async def test_the_last_of_repeated_keys_counts() -> None:
    """In one upsert the last row of a key counts; an insert refuses it, and writes nothing."""
    async with checked_db() as db:
        table = await db.create_table("t", dim=DIM)
        result = await table.upsert([1, 2, 1], [TWO, TWO, ONE], ["old", None, "one"])
        assert (result.inserted, result.updated) == (2, 0)
        assert await rows_of(table) == EXPECTED
        with pytest.raises(DuplicateKeyError, match="twice"):
            await table.insert([3, 3], [ONE, ONE])
        with pytest.raises(DuplicateKeyError, match="key 1 is there already"):
            await table.insert([3, 1], [ONE, ONE])
        assert await rows_of(table) == EXPECTED


async def test_payloads_are_replaced_and_vectors_stay() -> None:
    """`update_payloads` takes one or many keys, and all of them must be there."""
    async with checked_db() as db:
        table = await filled(db, 5)
        assert (await table.update_payloads([1, 3], ["one", None])).updated == 2
        assert (await table.update_payloads(4, {"i": 44})).updated == 1
        found = await table.get([0, 1, 3, 4], vectors=True)
        assert [row.payload for row in found] == [{"i": 0}, "one", None, {"i": 44}]
        vectors = clustered(5)
        assert all(row.vector.tobytes() == vectors[row.id].tobytes() for row in found)
        with pytest.raises(NotFoundError, match="no row with key 9"):
            await table.update_payloads([0, 9], ["never", "never"])
        assert (await table.get(0)).payload == {"i": 0}


async def test_deleting_passes_over_what_is_not_there() -> None:
    """Keys without a row are not counted, repeated ones once."""
    async with checked_db() as db:
        table = await filled(db, 5)
        assert (await table.delete([1, 9, 1, 3])).deleted == 2
        assert (await table.delete(1)).deleted == 0
        assert (await table.delete([])).deleted == 0
        assert [row.id async for row in table.iterate()] == [0, 2, 4]
        assert await table.count() == 3


async def test_one_in_one_out() -> None:
    """`get` answers a key with a row or None, and keys with a list in their order."""
    async with checked_db() as db:
        table = await filled(db, 3)
        assert await table.get(1) == Row(1, {"i": 1})
        assert await table.get(9) is None
        assert await table.get([2, 9, 0, 2]) == [
            Row(2, {"i": 2}),
            None,
            Row(0, {"i": 0}),
            Row(2, {"i": 2}),
        ]
        assert await table.get([]) == []
        assert (await table.get(np.int64(1))).id == 1


async def test_nothing_is_a_write_too() -> None:
    """No rows at all is no error and no commit."""
    async with checked_db() as db:
        table = await db.create_table("t", dim=DIM)
        nothings: tuple[Any, ...] = ([], {}, iter([]))
        for nothing in nothings:
            assert await table.upsert(nothing) == WriteResult()
        assert await table.upsert([], np.empty((0, DIM))) == WriteResult()
        assert await table.count() == 0
        assert [row async for row in table.iterate()] == []
        assert len(await table.search(ONE)) == 0


async def test_a_large_write_is_many_commits() -> None:
    """A write is cut into commits of about the chunk size, and the result is of all of them."""
    async with checked_db(limits=SMALL) as db:
        table = await db.create_table("t", dim=DIM)
        first = await table.upsert(range(500), clustered(500))
        assert first.inserted == 500
        assert first.lsn > 10
        second = await table.upsert(range(400, 600), clustered(200))
        assert (second.inserted, second.updated) == (100, 100)
        async with db.snapshot() as snapshot:
            assert snapshot.lsn == second.lsn
        assert await table.count() == 600


async def test_an_error_says_what_was_written() -> None:
    """From an iterable, the commits before the bad row stay, and the error counts them."""

    def rows() -> Any:
        for i, row in enumerate(clustered(300)):
            yield {"id": i, "vector": row if i != 250 else row[:3]}

    async with checked_db(limits=SMALL) as db:
        table = await db.create_table("t", dim=DIM)
        with pytest.raises(InputError, match="dimensions") as caught:
            await table.upsert(rows())
        written = caught.value.written
        assert isinstance(written, WriteResult)
        assert written.inserted == await table.count() > 0
        assert written.lsn > Lsn(0)
        with pytest.raises(InputError) as caught:
            await table.upsert(range(300), [*clustered(299), np.full(DIM, np.nan)])
        assert caught.value.written is None
        assert await table.count() == written.inserted


@pytest.mark.parametrize("row", [{"id": 1}, {"id": 1, "vector": ONE, "text": "x"}, (1, ONE), None])
async def test_a_row_that_is_no_mapping_is_named(row: Any) -> None:
    """What is not a mapping with id and vector is refused, with its number."""
    async with checked_db() as db:
        table = await db.create_table("t", dim=DIM)
        with pytest.raises(InputError, match="row 1: expected a mapping with id, vector"):
            await table.upsert([{"id": 0, "vector": ONE}, row])
        assert await table.count() == 0
