"""Vectors by number: few enough that the same ones, and ties, come up again and again."""

import numpy as np

from .oracle import Vector

VECTORS = 60
CENTRES = 5


def vector(dim: int, number: int) -> Vector:
    """The vector of a number, float32 (dim,), never zero.

    A third lie on a grid, where many are equally far from anything; the rest lie about
    a few centres.
    """
    random = np.random.default_rng([dim, number % VECTORS])
    if number % 3 == 0:
        grid: Vector = random.integers(-1, 2, dim).astype(np.float32)
        grid[0] = grid[0] or 1
        return grid
    centres = np.random.default_rng(dim).normal(0, 4, (CENTRES, dim))
    near: Vector = (centres[number % CENTRES] + random.normal(size=dim)).astype(np.float32)
    return near
