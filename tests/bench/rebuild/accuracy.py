"""What an index costs at an accuracy: figures between the points of a sweep."""

import math
from collections.abc import Sequence

import numpy as np

from centroidb import Table
from tests.bench.recall import Point
from tests.bench.sweep import Exam, sweep_point

TARGET = 0.95
ENOUGH = 0.98
NPROBES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
NPROBE = 8
"""The effort at which systems are compared."""


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


def at_nprobe(points: Sequence[Point], nprobe: int = NPROBE) -> Point:
    """The point of this nprobe."""
    return next(point for point in points if point["nprobe"] == nprobe)


async def measure(table: Table, exam: Exam, *, index: str | None = None) -> list[Point]:
    """A sweep as far as it is needed: past NPROBE, and past the target, with some margin."""
    points: list[Point] = []
    for nprobe in NPROBES:
        points.append(await sweep_point(table, exam, nprobe, index=index))
        if nprobe >= NPROBE and points[-1]["recall"] >= ENOUGH:
            break
    return points
