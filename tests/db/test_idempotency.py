"""Idempotency keys: a write that is repeated under its key is done once."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from centroidb import DuplicateKeyError, Limits, open_db
from tests.support.databases import SMALL, checked_db

from .data import DIM, clustered

ONE, TWO = clustered(2)


async def test_a_repeated_write_is_done_once() -> None:
    """The second call answers what the first did, whatever it was given, and writes nothing."""
    async with checked_db() as db:
        table = await db.create_table("t", dim=DIM)
        first = await table.upsert([1, 2], [ONE, TWO], idempotency_key="order 17")
        await table.delete(2)
        assert await table.upsert([1, 2], [ONE, TWO], idempotency_key="order 17") == first
        assert await table.insert(1, ONE, idempotency_key="order 17") == first
        assert await table.count() == 1


@pytest.mark.parametrize("call", ["delete", "update_payloads", "insert"])
async def test_every_write_takes_a_key(call: str) -> None:
    """Deletes, payloads and inserts are repeated without effect, and without an error."""
    async with checked_db() as db:
        table = await db.create_table("t", dim=DIM)
        await table.upsert(1, ONE, "old")
        calls = {
            "delete": lambda: table.delete(1, idempotency_key="k"),
            "update_payloads": lambda: table.update_payloads(1, "new", idempotency_key="k"),
            "insert": lambda: table.insert(2, TWO, idempotency_key="k"),
        }
        first = await calls[call]()
        assert await calls[call]() == first


async def test_a_write_of_many_commits_goes_on_where_it_was() -> None:
    """Each commit of a large write has a key of its own: repeated, only the missing are done."""
    read = 0

    def rows(until: int) -> Iterator[dict[str, Any]]:
        nonlocal read
        for read, vector in enumerate(clustered(300)):
            if read == until:
                raise InterruptedError
            yield {"id": read, "vector": vector}

    async with checked_db(limits=SMALL) as db:
        table = await db.create_table("t", dim=DIM)
        with pytest.raises(InterruptedError):
            await table.upsert(rows(until=200), idempotency_key="load")
        written = await table.count()
        assert 0 < written < 200
        await table.delete(0)
        everything = await table.upsert(rows(until=1_000), idempotency_key="load")
        assert everything.inserted == 300
        assert everything.updated == 0
        assert await table.count() == 299


async def test_a_transaction_takes_a_key() -> None:
    """A transaction that is run again under its key commits nothing more."""
    async with checked_db() as db:
        table = await db.create_table("t", dim=DIM)
        for _ in range(2):
            async with db.transaction(idempotency_key="transfer") as transaction:
                count = await transaction.count("t")
                await transaction.upsert("t", count, ONE)
            assert transaction.result is not None
            assert transaction.result.inserted == 1
        assert await table.count() == 1


async def test_a_refused_write_does_not_use_up_its_key() -> None:
    """A key is remembered for what was committed, not for what was refused."""
    async with checked_db() as db:
        table = await db.create_table("t", dim=DIM)
        await table.upsert(1, ONE)
        with pytest.raises(DuplicateKeyError):
            await table.insert(1, ONE, idempotency_key="k")
        await table.delete(1)
        assert (await table.insert(1, ONE, idempotency_key="k")).inserted == 1


async def test_keys_are_remembered_for_so_many_commits(tmp_path: Path) -> None:
    """A key is known after reopening, and forgotten once enough commits have followed."""
    path = tmp_path / "t.db"
    limits = Limits(commits_kept=5)
    async with open_db(path, limits=limits) as db:
        table = await db.create_table("t", dim=DIM)
        await table.upsert(1, ONE, idempotency_key="k")
    async with checked_db(path, limits=limits) as db:
        table = await db.table("t")
        assert (await table.upsert(1, ONE, idempotency_key="k")).inserted == 1
        for key in range(10):
            await table.upsert(key, TWO)
        await db.vacuum()
        assert (await table.upsert(1, ONE, idempotency_key="k")).updated == 1
