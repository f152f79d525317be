"""What an index costs at an accuracy: figures between the points of a sweep."""

from collections.abc import Sequence

from centroidb import Table
from tests.bench.recall import Point
from tests.bench.sweep import Exam, sweep_point

ENOUGH = 0.98
NPROBES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
NPROBE = 8
"""The effort at which systems are compared."""


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
