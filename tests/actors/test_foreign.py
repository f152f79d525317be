"""A read-only open beside its owner: what it has cached is never what was purged."""

import sqlite3
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from centroidb import ClosedError, Database, open_db
from centroidb.engine.storage import loading
from centroidb.wal.blocking import substitute
from centroidb.wal.file import ForeignFile
from tests.model.seam import inline
from tests.support.databases import checked_db

from .points import ALL, filled, points

RUN_BYTES = 1_200
"""A hundred rows of three dimensions."""


async def test_runs_are_read_again_after_a_purge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that were read before a purge are not found after it."""
    monkeypatch.setattr(loading, "BLOCK_BYTES", RUN_BYTES)
    async with checked_db(tmp_path / "t.db") as owner:
        table = await filled(owner, "t", 500)
        async with open_db(tmp_path / "t.db", read_only=True) as reader:
            seen = await reader.table("t")
            assert (await seen.search(points(1)[0], 1)).ids == [0]
            await table.delete(range(250))
            await owner.vacuum()
            await table.upsert(1_000, [9, 9, 9])
            hits = await seen.search(points(1)[0], 500)
            assert sorted(hits.ids) == [*range(250, 500), 1_000]


async def test_a_compaction_that_empties_a_partition_is_noticed(tmp_path: Path) -> None:
    """When a whole segment goes and nothing else changes, the reader does not ask for it."""
    async with checked_db(tmp_path / "t.db") as owner:
        table = await owner.create_table("t", dim=3)
        await table.upsert(range(50), points(50))
        await table.upsert(range(100, 150), points(50) + 100)
        await table.create_index("t", nlist=2)
        await table.delete(range(100, 150))
        async with open_db(tmp_path / "t.db", read_only=True) as reader:
            seen = await reader.table("t")
            assert await seen.count() == 50
            await owner.vacuum()
            hits = await seen.search(points(1)[0], 100, nprobe=ALL)
            assert sorted(hits.ids) == list(range(50))
            assert hits.partitions_probed == 2


async def test_a_reader_that_is_cancelled_closes_its_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cancelled while its read transaction begins, a call leaves no connection open."""
    made: list[sqlite3.Connection] = []
    scope = trio.CancelScope()
    open_reader = ForeignFile.open_reader

    def cancelled_meanwhile(file: ForeignFile) -> sqlite3.Connection:
        trio.from_thread.run_sync(scope.cancel)
        made.append(open_reader(file))
        return made[-1]

    async with checked_db(tmp_path / "t.db") as owner:
        await filled(owner, "t", 50)
        async with open_db(tmp_path / "t.db", read_only=True) as reader:
            with monkeypatch.context() as patched, scope:
                patched.setattr(ForeignFile, "open_reader", cancelled_meanwhile)
                await reader.tables()
            assert scope.cancelled_caught
            with pytest.raises(sqlite3.ProgrammingError, match="closed"):
                made[0].execute("SELECT 1")
            assert [table.name for table in await reader.tables()] == ["t"]


@pytest.mark.parametrize("turns", range(0, 14, 2))
async def test_a_close_waits_for_calls_that_begin_or_end(
    turns: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closed while another task's call has a connection: it is closed first, then the file."""
    made: list[sqlite3.Connection] = []
    open_reader = ForeignFile.open_reader

    def noted(file: ForeignFile) -> sqlite3.Connection:
        made.append(open_reader(file))
        return made[-1]

    async def call(reader: Database) -> None:
        with suppress(ClosedError):
            await reader.tables()

    def let_go(file: ForeignFile) -> None:
        assert not any(map(is_open, made))
        file.hold.release()

    monkeypatch.setattr(ForeignFile, "open_reader", noted)
    monkeypatch.setattr(ForeignFile, "close", let_go)
    async with checked_db(tmp_path / "t.db") as owner, trio.open_nursery() as nursery:
        await filled(owner, "t", 50)
        with substitute(inline(turns)):
            async with open_db(tmp_path / "t.db", read_only=True) as reader:
                nursery.start_soon(call, reader)
                for _ in range(turns):
                    await trio.lowlevel.checkpoint()
        assert not any(map(is_open, made))


def is_open(connection: sqlite3.Connection) -> bool:
    """Whether it was not closed."""
    with suppress(sqlite3.ProgrammingError):
        return connection.total_changes >= 0
    return False
