"""Recall as the bench counts it: a hit is right if it is as near as the true tenth."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

K = 10
NPROBES = (1, 2, 4, 8, 16, 32, 64, 128, 342)
NLIST = 342
SEEDS = (1, 2, 3)
"""Recall varies by about 0.005 with the seed of k-means, so means of builds are compared."""
TIE = 1e-9
"""Relative: what two ways of summing the same float64 distance may differ by."""


def recall(query: NDArray[np.float32], hits: NDArray[np.float32], kth_distance: float) -> float:
    """The share of K among the hits' vectors, shape (m, d), within the true K-th distance."""
    differences = hits.astype(np.float64) - query
    distances = np.sqrt(np.square(differences).sum(axis=1))
    return float(np.count_nonzero(distances <= kth_distance * (1 + TIE))) / K


Point = dict[str, float]
"""What was measured at one nprobe."""


def mean_sweep(sweeps: Sequence[Sequence[Point]]) -> list[Point]:
    """The mean of several builds, point by point."""
    return [
        {key: float(np.mean([point[key] for point in points])) for key in points[0]}
        for points in zip(*sweeps, strict=True)
    ]
