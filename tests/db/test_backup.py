"""Backups: one committed state, whole and compact, also while everything goes on."""

from pathlib import Path

import numpy as np
import pytest
import trio

from centroidb import Database, InputError, Table, open_db
from tests.support.databases import SMALL, checked_db, resumed
from tests.support.leftovers import leftovers

from .data import ALL, clustered, filled, indexed, same_everywhere


async def test_a_backup_is_the_same_database(tmp_path: Path) -> None:
    """Rows, payloads and answers of the copy are those of the original; it is one file."""
    async with checked_db(tmp_path / "t.db") as db:
        table, _ = await indexed(db, 300)
        query = clustered(1, seed=1)[0]
        expected = await same_everywhere(table, query)
        await db.backup(tmp_path / "copy.db")
        await table.delete(range(300))
        async with open_db(tmp_path / "copy.db", read_only=True) as reader:
            assert await (await reader.table("t")).count() == 300
        async with checked_db(tmp_path / "copy.db") as copy:
            other = await copy.table("t")
            assert await same_everywhere(other, query) == expected
            assert (await other.search(query, nprobe=ALL)).partitions_probed == 10
            assert (await other.get(7)).payload == {"i": 7}
            await other.upsert(1_000, query)
            assert await leftovers(copy) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy.db", "t.db"]


async def test_a_backup_overwrites_nothing(tmp_path: Path) -> None:
    """A target that exists is refused and stays; a folder that is missing is named."""
    async with checked_db(tmp_path / "t.db") as db:
        await filled(db, 3)
        (tmp_path / "there").write_bytes(b"mine")
        with pytest.raises(InputError, match="exists already"):
            await db.backup(tmp_path / "there")
        assert (tmp_path / "there").read_bytes() == b"mine"
        with pytest.raises(InputError, match="exists already"):
            await db.backup(tmp_path / "t.db")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.db", "there"]


async def transfer(db: Database, table: Table, done: trio.Event) -> None:
    """Two rows are written in each transaction, and always both."""
    random = np.random.default_rng(1)
    while not done.is_set():
        async with db.transaction() as transaction:
            amount = int(random.integers(100))
            await transaction.upsert("t", [0, 1], clustered(2), [amount, 100 - amount])


async def test_a_backup_during_writes_and_a_rebuild(tmp_path: Path) -> None:
    """Each copy is a committed state, and the build under way goes on in it."""
    async with checked_db(tmp_path / "t.db", limits=SMALL) as db:
        table, index = await indexed(db, 300)
        await table.upsert([0, 1], clustered(2), [50, 50])
        done = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(transfer, db, table, done)
            for number in range(4):
                async with index.rebuilding() as job:
                    await anext(aiter(job))
                    await db.backup(tmp_path / f"copy {number}.db")
                    await job.wait()
            done.set()
    for number in range(4):
        async with checked_db(tmp_path / f"copy {number}.db", limits=SMALL) as copy:
            table = await copy.table("t")
            assert sum(row.payload for row in await table.get([0, 1])) == 100
            assert await table.count() == 300
            await same_everywhere(table, clustered(1)[0])
            await resumed(copy)
            await copy.vacuum()
            assert await leftovers(copy) == []
