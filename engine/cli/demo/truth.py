"""The judge of the demo: the nearest places by haversine in float64, without the database.

What the database answers is compared with this, and only with this.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Positions = NDArray[np.float64]
"""Latitude and longitude in degrees, shape (n, 2)."""

EARTH_RADIUS_KM = 6371.0088
TIE_KM = 0.001
"""Distances closer than this are equal: a float32 unit vector resolves about half a metre."""
TIE_CHORD = TIE_KM / EARTH_RADIUS_KM
"""The same between unit vectors."""


def haversine_km(here: Positions, there: Positions) -> NDArray[np.float64]:
    """Great-circle distances in kilometres, shape (len(here), len(there))."""
    latitude, longitude = np.radians(here)[:, None, :].transpose(2, 0, 1)
    other_latitude, other_longitude = np.radians(there)[None, :, :].transpose(2, 0, 1)
    half_chord_squared = (
        np.sin((other_latitude - latitude) / 2) ** 2
        + np.cos(latitude) * np.cos(other_latitude) * np.sin((other_longitude - longitude) / 2) ** 2
    )
    distances_km: NDArray[np.float64] = 2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(half_chord_squared))
    return distances_km


def filed_nearest(
    vectors: NDArray[np.float32], centroids: NDArray[np.float32], partitions: NDArray[np.int32]
) -> int:
    """How many vectors (n, d) are in the partition of the centroid (nlist, d) nearest to them."""
    difference = vectors[:, None].astype(np.float64) - centroids
    squared = np.einsum("ncd,ncd->nc", difference, difference)
    chosen = np.take_along_axis(squared, partitions[:, None].astype(np.int64), axis=1)[:, 0]
    return int(np.count_nonzero(np.sqrt(chosen) <= np.sqrt(squared.min(axis=1)) + TIE_CHORD))


@dataclass(frozen=True)
class Truth:
    """The places in the table, and how far each is from each question."""

    columns: dict[int, int]
    """Key of a place -> its column in `distances_km`."""
    distances_km: NDArray[np.float64]
    """Shape (questions, places)."""

    @classmethod
    def of(cls, questions: Positions, keys: Sequence[int], there: Positions) -> Truth:
        """The truth about places with these keys at these positions."""
        columns = {key: column for column, key in enumerate(keys)}
        return cls(columns, haversine_km(questions, there))

    def nearest(self, question: int, k: int) -> list[int]:
        """Keys of the k nearest places, best first."""
        keys = list(self.columns)
        order = np.argsort(self.distances_km[question], kind="stable")[:k]
        return [keys[column] for column in order]

    def recall(self, question: int, found: Sequence[int], k: int) -> float:
        """The share of k that was found; a key counts if it is no farther than the true k-th."""
        distances_km = self.distances_km[question]
        limit_km = np.partition(distances_km, k - 1)[k - 1] + TIE_KM
        columns = [self.columns[key] for key in found]
        return float(np.count_nonzero(distances_km[columns] <= limit_km)) / k
