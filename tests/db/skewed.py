"""A table whose index has gone wrong: one partition with far too many rows, one with few."""

from typing import Any

import numpy as np

from centroidb import Database, Index, Limits, Snapshot, Table
from tests.support.databases import SMALL

from .data import DIM, Vectors, clustered, filed, same_everywhere

TINY = Limits(**{**vars(SMALL), "slice_bytes": 2_048})
UNPURGED = Limits(**{**vars(SMALL), "purge_rows": 100_000})
"""Ended rows stay until a vacuum."""
NLIST = 10
QUERIES = clustered(6, seed=77)


def crowd(n: int, seed: int = 9) -> Vectors:
    """Vectors (n, DIM) about two places that lie close together."""
    random = np.random.default_rng(seed)
    places = np.array([[6.0] * DIM, [8.0] * DIM])[random.integers(0, 2, n)]
    return (places + random.normal(size=(n, DIM))).astype("<f4")


async def skewed(db: Database, **options: Any) -> tuple[Table, Index]:
    """A table "t" and an index with a partition that has far too many rows, and one with few."""
    table = await db.create_table("t", dim=DIM)
    await table.upsert(range(400), clustered(400))
    index = await table.create_index("ix", nlist=NLIST, **options)
    await table.upsert(range(1_000, 1_500), crowd(500))
    keys = np.array(sorted([row.id async for row in table.iterate()]))
    homes = await index.partition_of(keys)
    sizes = np.bincount(homes, minlength=NLIST)
    few = np.flatnonzero(homes == np.flatnonzero(sizes)[sizes[sizes > 0].argmin()])
    await table.delete(keys[few[3:]].tolist())
    await db.vacuum()
    await filed(index)
    return table, index


async def homes(table: Table, index: Index) -> list[tuple[Any, bytes]]:
    """Each row, and the centroid of its partition."""
    keys = sorted([row.id async for row in table.iterate()])
    partitions = await index.partitions()
    numbers = await index.partition_of(keys)
    return [
        (key, partitions[number].centroid.tobytes())
        for key, number in zip(keys, numbers.tolist(), strict=True)
    ]


async def answers(at: Database | Snapshot) -> list[Any]:
    """What some searches find in a few partitions."""
    if isinstance(at, Snapshot):
        found = [await at.search("t", query, 10, nprobe=2) for query in QUERIES]
    else:
        table = await at.table("t")
        found = [await table.search(query, 10, nprobe=2) for query in QUERIES]
    return [(hits.ids, hits.distances.tolist()) for hits in found]


async def same_for_all(table: Table) -> None:
    """Through all partitions and exactly, searches find the same."""
    for query in QUERIES:
        await same_everywhere(table, query)


async def centroids_of(db: Database) -> list[bytes]:
    """The centroids, by number."""
    return [partition.centroid.tobytes() for partition in await (await db.index("ix")).partitions()]
