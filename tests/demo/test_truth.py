"""The judge: haversine distances, the true nearest, and recall."""

import numpy as np

from centroidb.engine.cli.demo.places import Place, positions, unit_vectors
from centroidb.engine.cli.demo.truth import EARTH_RADIUS_KM, Truth, filed_nearest, haversine_km

SEED = 11


def test_quarter_of_the_equator() -> None:
    """From (0, 0) a quarter circle leads to the pole and to 90 degrees east, half to 180."""
    quarter_km = EARTH_RADIUS_KM * np.pi / 2
    distances_km = haversine_km(np.array([[0.0, 0.0]]), np.array([[90.0, 0.0], [0, 90], [0, 180]]))

    np.testing.assert_allclose(distances_km, [[quarter_km, quarter_km, 2 * quarter_km]])


def test_haversine_agrees_with_the_chord(places: list[Place]) -> None:
    """The great circle from the chord between unit vectors is the haversine distance."""
    rng = np.random.default_rng(SEED)
    where = positions([places[index] for index in rng.integers(len(places), size=100)])
    vectors = unit_vectors(where).astype(np.float64)
    chords = np.linalg.norm(vectors[:, None] - vectors, axis=2)

    np.testing.assert_allclose(
        2 * EARTH_RADIUS_KM * np.arcsin(chords / 2), haversine_km(where, where), atol=0.002
    )


def line_of_places() -> Truth:
    """Places 10 to 14 stand one degree apart on the equator; the question is asked at the first."""
    there = np.array([[0.0, degrees] for degrees in range(5)])
    return Truth.of(there[:1], range(10, 15), there)


def test_nearest_come_in_order() -> None:
    """The true nearest are the keys in order of distance."""
    assert line_of_places().nearest(0, 3) == [10, 11, 12]


def test_recall_counts_what_is_near_enough() -> None:
    """A key counts when it is no farther than the true k-th, in any order."""
    truth = line_of_places()

    assert truth.recall(0, [12, 10, 11], 3) == 1
    assert truth.recall(0, [10, 13, 14], 3) == 1 / 3
    assert truth.recall(0, [], 3) == 0


def test_recall_takes_either_of_a_tie() -> None:
    """Of two places at the k-th distance, each is as good as the other."""
    there = np.array([[0.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    truth = Truth.of(there[:1], [1, 2, 3], there)

    assert truth.recall(0, [1, 2], 2) == 1
    assert truth.recall(0, [1, 3], 2) == 1


def test_filing_is_judged_by_the_nearest_centroid() -> None:
    """A vector counts when no centroid is nearer than that of its partition; a tie counts."""
    centroids = np.array([[1, 0, 0], [0, 1, 0]], np.float32)
    vectors = np.array([[1, 0.1, 0], [0.1, 1, 0], [0.5, 0.5, 0]], np.float32)

    assert filed_nearest(vectors, centroids, np.array([0, 1, 0], np.int32)) == 3
    assert filed_nearest(vectors, centroids, np.array([0, 0, 1], np.int32)) == 2
