"""What a search costs: rows read and milliseconds, against the share of true neighbours found.

nprobe is raised one partition at a time until nothing is missed, so two indexes can be compared
at equal recall (which costs less?) and at equal rows read (which finds more?).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...db import Hits, Table
from .places import unit_vectors
from .truth import Positions, Truth

K = 10
REPEATS = 3


@dataclass(frozen=True)
class Cost:
    """The mean over all questions at one nprobe.

    The time of a question is the best of three searches, since other programs run as well, and the
    time of all questions is their median.
    """

    nprobe: int
    recall: float
    rows_read: float
    search_ms: float


async def cost_curve(table: Table, questions: Positions, truth: Truth, nlist: int) -> list[Cost]:
    """The cost at nprobe 1, 2, 3, ... until every true neighbour is found."""
    curve: list[Cost] = []
    while len(curve) < nlist and not (curve and curve[-1].recall == 1):
        curve.append(await _cost(table, questions, truth, nprobe=len(curve) + 1))
    return curve


async def _cost(table: Table, questions: Positions, truth: Truth, *, nprobe: int) -> Cost:
    rows, recalls, times_s = [], [], []
    for number, vector in enumerate(unit_vectors(questions)):
        hits, search_s = await _best(table, vector, nprobe=nprobe)
        times_s.append(search_s)
        rows.append(hits.rows_scanned)
        recalls.append(truth.recall(number, [int(key) for key in hits.ids], K))
    return Cost(
        nprobe=nprobe,
        recall=float(np.mean(recalls)),
        rows_read=float(np.mean(rows)),
        search_ms=float(np.median(times_s)) * 1e3,
    )


async def _best(table: Table, vector: NDArray[np.float32], *, nprobe: int) -> tuple[Hits, float]:
    times_s = []
    for _ in range(REPEATS):
        start_s = time.perf_counter()
        hits: Hits = await table.search(vector, k=K, nprobe=nprobe)
        times_s.append(time.perf_counter() - start_s)
    return hits, min(times_s)


def at_recall(curve: Sequence[Cost], recall: float) -> Cost:
    """The first cost on the curve that reaches the recall."""
    return next(cost for cost in curve if cost.recall >= recall)


def at_rows_read(curve: Sequence[Cost], rows_read: float) -> Cost | None:
    """The best that can be had for that many rows; None when one partition is more already."""
    return max(
        (cost for cost in curve if cost.rows_read <= rows_read),
        key=lambda cost: cost.recall,
        default=None,
    )
