"""Cosine: vectors without a direction, and those too short for float32 squares."""

import numpy as np
import pytest

from centroidb import Database, InputError, Table
from tests.support.databases import checked_db

from .points import ALL, points

ZERO = [0.0, 0.0, 0.0]
N = 300


async def _with_a_zero(db: Database) -> Table:
    """An l2 table, where a vector of zeros is a point like others: key 0."""
    table = await db.create_table("t", dim=3)
    vectors = points(N)
    vectors[0] = ZERO
    await table.upsert(range(N), vectors)
    return table


@pytest.mark.parametrize("codec", ["flat", "sq8"])
async def test_a_zero_vector_is_at_right_angles_to_all(codec: str) -> None:
    """Under cosine a stored vector of zeros has distance 1, by every path, and is never NaN."""
    async with checked_db() as db:
        table = await _with_a_zero(db)
        await table.create_index("t", metric="cosine", codec=codec, nlist=9)  # type: ignore[arg-type]
        for options in ({"exact": True}, {"nprobe": ALL}):
            hits = await table.search([1, 2, 3], N, metric="cosine", **options)
            assert len(hits) == N
            assert not np.isnan(hits.distances).any()
            assert hits.distances[hits.ids.index(0)] == 1.0


async def test_a_zero_query_is_refused_under_cosine_only() -> None:
    """A query of zeros has no cosine distance, but a Euclidean one, whatever the table's metric."""
    async with checked_db() as db:
        table = await db.create_table("t", dim=3, metric="cosine")
        await table.upsert(1, [1, 2, 2])
        with pytest.raises(InputError, match="a zero query vector has no cosine distance"):
            await table.search(ZERO, 1)
        assert (await table.search(ZERO, 1, metric="l2")).distances.tolist() == [3.0]


async def test_a_tiny_query_has_a_direction() -> None:
    """A query whose square is zero in float32 is no query of zeros."""
    async with checked_db() as db:
        table = await _with_a_zero(db)
        tiny = await table.search([1e-25, 0, 0], 3, metric="cosine")
        assert tiny.ids == (await table.search([1, 0, 0], 3, metric="cosine")).ids
