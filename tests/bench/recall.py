"""Recall as the bench counts it: a hit is right if it is as near as the true tenth."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

K = 10
TARGET = 0.95
TIE = 1e-9
"""Relative: what two ways of summing the same float64 distance may differ by."""


def recall(query: NDArray[np.float32], hits: NDArray[np.float32], kth_distance: float) -> float:
    """The share of K among the hits' vectors, shape (m, d), within the true K-th distance."""
    differences = hits.astype(np.float64) - query
    distances = np.sqrt(np.square(differences).sum(axis=1))
    return float(np.count_nonzero(distances <= kth_distance * (1 + TIE))) / K


Point = dict[str, float]
"""What was measured at one nprobe."""


def at_recall(points: Sequence[Point], figure: str, recall: float = TARGET) -> float:
    """A figure where recall first reaches the target, on the line between the points around it.

    The first point's where that has reached it already; nan where none does.
    """
    for number, above in enumerate(points):
        if above["recall"] >= recall:
            below = points[max(0, number - 1)]
            ends = [below["recall"], above["recall"]]
            return float(np.interp(recall, ends, [below[figure], above[figure]]))
    return math.nan


def at_rows(points: Sequence[Point], rows: float) -> float:
    """Recall where so many rows are read, on the line between the points around it."""
    return float(np.interp(rows, [p["rows_read"] for p in points], [p["recall"] for p in points]))
