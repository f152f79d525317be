"""A second process reads while the first writes and rebuilds."""

from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest

from centroidb import Database, ReadOnlyError, Row, Snapshot, open_db
from centroidb.engine.index.distance import distances
from tests.support.databases import checked_db

from .children import started
from .roles import ACCOUNTS, AMOUNT, Made, make_accounts, own, total, vector

COMMITS = 60
REBUILDS = 3
EVERY = 1_000
"""More partitions than there are."""


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """A file with all accounts."""
    await make_accounts(tmp_path / "bank.db")
    return tmp_path / "bank.db"


def made(pipe: Connection) -> Made:
    """How far the owner is."""
    pipe.send("how far?")
    answer = pipe.recv()
    assert isinstance(answer, Made)
    return answer


def gone_on(pipe: Connection, since: Made) -> bool:
    """Whether the owner has committed and rebuilt enough meanwhile."""
    now = made(pipe)
    return now.commits >= since.commits + COMMITS and now.rebuilds >= since.rebuilds + REBUILDS


async def rows_of(snapshot: Snapshot) -> list[Row]:
    """All accounts, which must hold all the money, with the vectors of their amounts."""
    rows = [row async for row in snapshot.iterate("accounts", vectors=True)]
    assert sorted(row.id for row in rows) == list(range(ACCOUNTS))
    assert sum(row.payload for row in rows) == ACCOUNTS * AMOUNT
    assert await snapshot.count("accounts") == ACCOUNTS
    for row in rows:
        assert row.vector is not None
        assert row.vector.tobytes() == vector(int(row.id), row.payload).tobytes()
    return rows


async def search(snapshot: Snapshot, rows: list[Row]) -> list[tuple[int | str, float]]:
    """Ask for neighbours; through all partitions, exactly, and by brute force they are equal."""
    query = vector(7, AMOUNT)
    hits = await snapshot.search("accounts", query, 9, nprobe=EVERY)
    exact = await snapshot.search("accounts", query, 9, exact=True)
    measured = distances("l2", query, np.array([row.vector for row in rows]))
    assert hits.partitions_probed > 0
    assert hits.ids == exact.ids
    assert hits.distances.tobytes() == exact.distances.tobytes()
    assert hits.distances.tobytes() == np.sort(measured)[:9].tobytes()
    some = await snapshot.search("accounts", query, 9, nprobe=1)
    return [(hit.id, hit.distance) for hit in [*hits, *some]]


async def test_each_read_is_one_committed_state(path: Path) -> None:
    """Whatever a reader asks while another process writes, it sees one committed state."""
    with started(own, str(path)) as (_, pipe):
        assert pipe.recv() == "open"
        async with open_db(path, read_only=True) as db:
            since, lsns = made(pipe), set()
            while not gone_on(pipe, since):
                async with db.snapshot() as snapshot:
                    await search(snapshot, await rows_of(snapshot))
                    lsns.add(snapshot.lsn)
                assert await total(await db.table("accounts")) == ACCOUNTS * AMOUNT
            assert (await db.check()).errors == ()
        assert len(lsns) > 3
        pipe.send("stop")
        while pipe.recv() != "closed":
            pass


async def test_a_snapshot_of_a_reader_never_changes(path: Path) -> None:
    """Rows and answers of a held snapshot stay, while the owner commits, rebuilds and purges."""
    with started(own, str(path)) as (_, pipe):
        assert pipe.recv() == "open"
        async with open_db(path, read_only=True) as db, db.snapshot() as snapshot:
            since = made(pipe)
            rows = await rows_of(snapshot)
            answers = await search(snapshot, rows)
            while not gone_on(pipe, since):
                assert await search(snapshot, rows) == answers
            assert [(row.id, row.payload) for row in await rows_of(snapshot)] == [
                (row.id, row.payload) for row in rows
            ]


async def test_a_reader_sees_the_builds_of_the_owner(path: Path) -> None:
    """Jobs of another process can be read, those done as done."""
    with started(own, str(path)) as (_, pipe):
        assert pipe.recv() == "open"
        async with open_db(path, read_only=True) as db:
            since = made(pipe)
            while not gone_on(pipe, since):
                assert {job.state for job in await db.jobs()} <= {"running", "done", "failed"}
            assert len(await db.jobs()) > REBUILDS


async def test_a_reader_writes_nothing(path: Path) -> None:
    """Every call that would write is refused."""
    async with open_db(path, read_only=True) as db:
        table = await db.table("accounts")
        index = await db.index("ix")
        for refused in (
            lambda: table.upsert(1, vector(1, 1)),
            lambda: table.insert(1_000, vector(1, 1)),
            lambda: table.delete(1),
            lambda: table.update_payloads(1, 2),
            lambda: table.create_index("other"),
            lambda: index.rebuild(),
            lambda: db.create_table("other", dim=2),
            lambda: db.drop_table("accounts"),
            lambda: db.drop_index("ix"),
            lambda: db.vacuum(),
            lambda: db.execute("ALTER INDEX ix REBUILD ONLINE"),
        ):
            with pytest.raises(ReadOnlyError, match="read_only"):
                await refused()
        with pytest.raises(ReadOnlyError, match="read_only"):
            async with db.transaction():
                raise AssertionError("it has begun")


@pytest.mark.parametrize("kept", [0, 1, ACCOUNTS // 2])
async def test_a_reader_follows_a_compaction(path: Path, kept: int) -> None:
    """A reader that knew a segment does not ask for it once a purge has removed it."""
    async with checked_db(path) as owner, open_db(path, read_only=True, cache_bytes=0) as reader:
        await (await owner.table("accounts")).delete(range(kept, ACCOUNTS))
        assert await nearest(reader) == kept
        await owner.vacuum()
        assert await nearest(reader) == kept


async def nearest(db: Database) -> int:
    """How many rows a search through the whole index finds."""
    hits = await (await db.table("accounts")).search(vector(1, 1), 500, nprobe=EVERY)
    assert hits.partitions_probed > 0
    return len(hits)
