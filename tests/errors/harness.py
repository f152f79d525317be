"""What tests of refusals share: a filled database, and a proof that nothing changed."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from centroidb import Database, Limits
from tests.support.databases import checked_db

LIMITS = Limits(
    dims=16,
    k=50,
    key_bytes=20,
    payload_bytes=200,
    transaction_bytes=20_000,
    chunk_bytes=2_048,
    train_rows=50,
)


def vectors(n: int, dim: int = 3, seed: int = 0) -> NDArray[np.float32]:
    """`n` random vectors, float32 (n, dim)."""
    return np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)


@asynccontextmanager
async def filled_db(path: Path, **options: Any) -> AsyncIterator[Database]:
    """Tables `ints` (l2, an index `ix`), `texts` (cosine) of a few rows, checked at the end."""
    async with checked_db(path, **{"limits": LIMITS, **options}) as db:
        ints = await db.create_table("ints", dim=3)
        texts = await db.create_table("texts", dim=3, metric="cosine", key_type="str")
        await ints.upsert(range(60), vectors(60), [{"n": n} for n in range(60)])
        await texts.upsert(["a", "b", "c"], np.eye(3))
        await ints.create_index("ix", nlist=4)
        yield db


async def contents(db: Database) -> dict[str, Any]:
    """Everything in the database that a call could change."""
    async with db.snapshot() as snapshot:
        found: dict[str, Any] = {"lsn": snapshot.lsn}
        for table in await db.tables():
            rows = [row async for row in snapshot.iterate(table.name, vectors=True)]
            found[table.name] = [(r.id, r.payload, r.vector.tolist()) for r in rows]  # type: ignore[union-attr]  # asked for
    found["indexes"] = [index.name for index in await db.indexes()]
    return found


@asynccontextmanager
async def unchanged(db: Database) -> AsyncIterator[None]:
    """The database is after the block what it was before it."""
    before = await contents(db)
    yield
    assert await contents(db) == before
