"""Vectors that are hard on floating point, and brute force to compare with."""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from centroidb.engine.index.codec import Rows as CodedRows
from centroidb.engine.index.distance import Metric, distances, nearest
from centroidb.engine.index.queries import Queries
from centroidb.engine.index.spread import Moments, Spread

METRICS: Final[tuple[Metric, ...]] = ("l2", "cosine", "dot")
SEED: Final = 20240607

Rows = NDArray[np.float32]
Maker = Callable[[np.random.Generator, int, int], NDArray[np.floating]]


def _random(random: np.random.Generator, n: int, d: int) -> NDArray[np.floating]:
    return random.standard_normal((n, d))


def _unit(random: np.random.Generator, n: int, d: int) -> NDArray[np.floating]:
    rows = random.standard_normal((n, d))
    rows /= np.sqrt(np.square(rows).sum(axis=1, keepdims=True))
    return rows


def _duplicates(random: np.random.Generator, n: int, d: int) -> NDArray[np.floating]:
    return _random(random, 5, d)[random.integers(0, 5, n)]


def _neighbours(random: np.random.Generator, n: int, d: int) -> NDArray[np.floating]:
    """One row, and others that differ from it in the last bits."""
    return np.float32(1) + random.integers(0, 3, (n, d)) * np.float32(2.0**-23)


def _mixed(random: np.random.Generator, n: int, d: int) -> NDArray[np.floating]:
    return _random(random, n, d) * 10.0 ** random.integers(-30, 15, (n, 1))


KINDS: Final[dict[str, Maker]] = {
    "random": _random,
    "unit": _unit,
    "offset by 10": lambda random, n, d: _random(random, n, d) + 10,
    "offset by 10,000": lambda random, n, d: _random(random, n, d) + 1e4,
    "tiny": lambda random, n, d: _random(random, n, d) * 1e-20,
    "subnormal": lambda random, n, d: _random(random, n, d) * 1e-40,
    "smallest": lambda random, n, d: _random(random, n, d) * 1e-44,
    "huge": lambda random, n, d: _unit(random, n, d) * 0.99e18,
    "integers": lambda random, n, d: random.integers(-3, 4, (n, d)).astype(np.float64),
    "duplicates": _duplicates,
    "neighbours": _neighbours,
    "mixed": _mixed,
    "constant": lambda _, n, d: np.full((n, d), 0.3),
}


def make(kind: str, n: int, d: int, seed: int = SEED) -> Rows:
    """Vectors (n, d) float32 of one kind, none of them zero."""
    rows = KINDS[kind](np.random.default_rng(seed), n, d).astype(np.float32)
    rows[~rows.any(axis=1), 0] = np.float32(1e-40)
    return rows


def brackets(
    pieces: Sequence[CodedRows], queries: Queries
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Lower and upper ends (q, n) of the ranks of all rows of the pieces."""
    asked = type(pieces[0]).ask(pieces, queries)
    start = 0
    for index, piece in enumerate(pieces):
        stop = start + len(piece)
        piece.multiply(asked.kernels(index), asked.products[:, start:stop])
        start = stop
    return asked.brackets()


def brute_force(
    metric: Metric, query: Rows, vids: NDArray[np.int64], vectors: Rows, k: int
) -> tuple[list[int], list[float]]:
    """Vids and distances of the k nearest, measured one by one."""
    measured = distances(metric, query, vectors)
    order = nearest(measured, vids, k)
    return vids[order].tolist(), measured[order].tolist()


def spread_of(labels: NDArray[np.int32], squares: NDArray[np.float64], nlist: int) -> Spread:
    """From the partition (n,) of each row and its squared distance (n,) to the centroid."""
    moments = Moments(nlist)
    for partition in range(nlist):
        moments.add(partition, squares[labels == partition])
    return moments.spread()
