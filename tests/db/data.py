"""Rows for tests: clustered, seeded, and easy to tell apart."""

from typing import Any, Final

import numpy as np
import trio
from numpy.typing import NDArray

from centroidb import Database, Index, Table

DIM: Final = 8
SEED: Final = 20_250_101
ALL: Final = 60_000
"""More partitions than any index has."""

Vectors = NDArray[np.float32]


def clustered(n: int, *, dim: int = DIM, seed: int = SEED, centres: int = 12) -> Vectors:
    """Vectors (n, dim) float32 about some centres."""
    random = np.random.default_rng(seed)
    middles = random.normal(0, 5, (centres, dim))
    return (middles[random.integers(0, centres, n)] + random.normal(size=(n, dim))).astype("<f4")


async def filled(db: Database, n: int, **options: Any) -> Table:
    """A table "t" whose row `i` has the vector `i` of `clustered`, and {"i": i}."""
    table = await db.create_table("t", dim=DIM, **options)
    await table.upsert(range(n), clustered(n), [{"i": i} for i in range(n)])
    return table


async def indexed(db: Database, n: int, nlist: int = 10, **options: Any) -> tuple[Table, Index]:
    """The same with an index "ix"."""
    table = await filled(db, n)
    return table, await table.create_index("ix", nlist=nlist, **options)


async def same_everywhere(table: Table, query: Vectors) -> list[tuple[Any, float]]:
    """The rows nearest to a query; through all partitions and exactly they must be the same."""
    hits = await table.search(query, 20, nprobe=ALL)
    exact = await table.search(query, 20, exact=True)
    assert hits.ids == exact.ids
    assert hits.distances.tobytes() == exact.distances.tobytes()
    return [(hit.id, hit.distance) for hit in hits]


async def filed(index: Index) -> None:
    """Wait until no row waits to be filed."""
    with trio.fail_after(60):
        while (await index.statistics()).lag_rows:
            await trio.lowlevel.checkpoint()
