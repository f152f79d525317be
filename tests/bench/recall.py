"""Recall as the bench counts it: a hit is right if it is as near as the true tenth."""

import numpy as np
from numpy.typing import NDArray

K = 10
NPROBES = (1, 2, 4, 8, 16, 32, 64, 128, 342)
NLIST = 342
TIE = 1e-9
"""Relative: what two ways of summing the same float64 distance may differ by."""


def recall(query: NDArray[np.float32], hits: NDArray[np.float32], kth_distance: float) -> float:
    """The share of K among the hits' vectors, shape (m, d), within the true K-th distance."""
    differences = hits.astype(np.float64) - query
    distances = np.sqrt(np.square(differences).sum(axis=1))
    return float(np.count_nonzero(distances <= kth_distance * (1 + TIE))) / K
