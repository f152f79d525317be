"""The plans of the statements that a search, a commit or a rebuild runs: no SCAN among them."""

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from centroidb import Database
from centroidb.wal import connection as connections
from centroidb.wal import file as wal_file
from tests.support.databases import SMALL, checked_db

GROWING = re.compile(r"\bSCAN (rows_|live_|dead_|r\b|l\b|o\b|wal|commits|partitions|centroids)")
"""A scan of a table, by its name or by the alias statements give it, that grows with the rows."""


class Traced:
    """Statements run on any connection since the last `take`."""

    def __init__(self) -> None:
        self._seen: dict[str, None] = {}

    def __call__(self, statement: str) -> None:
        self._seen.setdefault(statement, None)

    def take(self) -> list[str]:
        """What was run, once each."""
        seen, self._seen = list(self._seen), {}
        return [each for each in seen if re.match("SELECT|INSERT|UPDATE|DELETE", each)]


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> Traced:
    """Every connection that is opened from here on is traced."""
    found, connect = Traced(), connections.connect

    def connect_traced(path: str, access: connections.Access) -> sqlite3.Connection:
        connection = connect(path, access)
        connection.set_trace_callback(found)
        return connection

    monkeypatch.setattr(connections, "connect", connect_traced)
    monkeypatch.setattr(wal_file, "connect", connect_traced)
    return found


def scans(path: str, statements: list[str]) -> Iterator[str]:
    """The statements whose plan scans a table that grows, with their plan."""
    connection = connections.open_reader(path)
    for statement in statements:
        plan = [line for *_, line in connection.execute(f"EXPLAIN QUERY PLAN {statement}")]
        if any(GROWING.search(line) for line in plan):
            yield f"{statement[:200]}: {plan}"
    connection.close()


async def work(db: Database, key_type: str) -> None:
    """Everything a program does all day, and an online rebuild."""
    rng = np.random.default_rng(0)
    keys = [str(n) if key_type == "str" else n for n in range(300)]
    table = await db.table("t")
    await table.insert(keys, rng.normal(size=(300, 4)), [{"n": n} for n in range(300)])
    index = await table.create_index("ix", nlist=4)
    await table.upsert(keys[:100], rng.normal(size=(100, 4)))
    await table.update_payloads(keys[:5], [None] * 5)
    await table.delete(keys[50:120])
    async with db.transaction(isolation="serializable") as tx:
        await tx.get("t", keys[:3])
        await tx.upsert("t", keys[0], np.ones(4))
        await tx.count("t")
    await table.upsert(keys[0], np.ones(4), idempotency_key="once")
    await table.get(keys[:20], vectors=True)
    _ = [row async for row in table.iterate()]
    await table.search(rng.normal(size=(5, 4)), k=3)
    await table.search(np.ones(4), k=3, exact=True)
    await index.rebuild(parallel=2)
    await db.vacuum()


@pytest.mark.parametrize("key_type", ["int", "str"])
async def test_no_hot_statement_scans(tmp_path: Path, traced: Traced, key_type: str) -> None:
    """Writes, reads, searches, folds, a rebuild and a purge reach every row by a key."""
    async with checked_db(tmp_path / "a.db", limits=SMALL) as db:
        await db.create_table("t", dim=4, key_type=key_type)  # type: ignore[arg-type]  # one of two
        traced.take()
        await work(db, key_type)
        statements = traced.take()
        found = list(scans(db.path, statements))

    assert len(statements) > 100
    assert found == []


async def test_a_scan_would_be_seen(tmp_path: Path, traced: Traced) -> None:
    """The test can fail: a statement without a key shows in its plan as a SCAN."""
    async with checked_db(tmp_path / "a.db") as db:
        await db.create_table("t", dim=4)
        statements = [
            "SELECT vid FROM rows_1 WHERE lsn = 1",
            "SELECT r.key FROM rows_1 r JOIN live_1 l ON l.vid = r.vid",
            "DELETE FROM wal WHERE time_ns < 5",
        ]
        assert len(list(scans(db.path, statements))) == 3
