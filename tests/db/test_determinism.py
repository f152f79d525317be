"""Builds are deterministic: the same rows and seed give the same bytes at any width."""

import sqlite3
from typing import Any

import numpy as np
import pytest
import trio

from centroidb import Database, Table
from centroidb.engine.index.codec import CodecName
from centroidb.engine.index.distance import Metric
from centroidb.wal.blocking import substitute
from tests.model.seam import inline
from tests.support.databases import SMALL, checked_db

from .data import DIM, clustered

ROWS = 6_000
WIDTHS = (1, 2, 4)


def stored(connection: sqlite3.Connection) -> list[Any]:
    """Centroids, and segments by (centroid, order), of the one index."""
    (active,) = connection.execute("SELECT active FROM indexes").fetchone()
    centroids = connection.execute(
        "SELECT first, n, vectors FROM centroids WHERE generation = ? ORDER BY first", (active,)
    ).fetchall()
    segments = connection.execute(
        "SELECT centroid, n, vids, bounds, row_crcs, codes FROM partitions "
        "WHERE generation = ? ORDER BY centroid, id",
        (active,),
    ).fetchall()
    assert centroids
    assert segments
    return [centroids, segments]


async def bytes_of_index(db: Database) -> list[Any]:
    """What the file holds of the index."""
    async with db.snapshot() as snapshot:
        found: list[Any] = await snapshot.view.read(stored)
        return found


@pytest.mark.parametrize(
    ("codec", "metric"), [("flat", "l2"), ("sq8", "l2"), ("sq8", "cosine"), ("sq8", "dot")]
)
async def test_the_width_does_not_show(codec: CodecName, metric: Metric) -> None:
    """PARALLEL 1, 2 and 4 give the same centroids and segments, byte for byte."""
    async with checked_db() as db:
        table = await db.create_table("t", dim=DIM)
        await table.upsert(range(ROWS), clustered(ROWS))
        await table.delete(range(0, ROWS, 7))
        index = await table.create_index("ix", codec=codec, metric=metric, nlist=40, parallel=3)
        first = await bytes_of_index(db)
        for parallel in WIDTHS:
            await index.rebuild(parallel=parallel, nlist=40)
            assert await bytes_of_index(db) == first


async def test_the_order_of_threads_does_not_show() -> None:
    """Whatever the order in which pieces of the work end, the bytes are the same."""
    found = []
    for seed in range(4):
        with substitute(inline(seed)):
            async with checked_db(limits=SMALL) as db:
                table = await db.create_table("t", dim=DIM)
                await table.upsert(range(500), clustered(500))
                await table.create_index("ix", nlist=9, parallel=4)
                await db.vacuum()
                found.append(await bytes_of_index(db))
    assert found[1:] == found[:-1]


async def test_the_seed_shows() -> None:
    """Another seed gives other centroids."""
    async with checked_db() as db:
        table = await db.create_table("t", dim=DIM)
        await table.upsert(range(500), np.random.default_rng(1).normal(size=(500, DIM)))
        index = await table.create_index("ix", nlist=9, seed=1)
        first = await bytes_of_index(db)
        await index.rebuild(nlist=9, seed=2)
        assert await bytes_of_index(db) != first


async def test_rows_that_come_during_the_build() -> None:
    """Rows caught up land where they would at any width: centroids and partitions are equal."""
    found = []
    for parallel in WIDTHS:
        async with checked_db(limits=SMALL) as db:
            table = await db.create_table("t", dim=DIM)
            await table.upsert(range(600), clustered(600))
            index = await table.create_index("ix", nlist=9)
            async with (
                trio.open_nursery() as nursery,
                index.rebuilding(parallel=parallel, nlist=9) as job,
            ):
                await anext(aiter(job))
                nursery.start_soon(write, table)
                await job.wait()
            centroids = [part.centroid.tobytes() for part in await index.partitions()]
            keys = [row.id async for row in table.iterate()]
            where = (await index.partition_of(keys)).tolist()
            found.append((centroids, dict(zip(keys, where, strict=True))))
    assert found[1:] == found[:-1]


async def write(table: Table) -> None:
    """Some rows, new and replaced."""
    for start in range(500, 800, 20):
        await table.upsert(range(start, start + 20), clustered(20, seed=start))
