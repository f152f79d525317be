"""Products of many vectors with a few queries, as fast as numpy goes, and what they may be off by.

These products only sieve, so they may round; but by how much must be proven, whatever the order
in which BLAS adds, with or without fused multiply-add.  For d products summed in float32 in any
order (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1), with u = 2^-24,

    |computed - x.q|  <=  gamma |x| |q| + tiny,      gamma = d u / (1 - d u),

where `tiny` is for results below the normal range, flushed to zero or not: at most 2^-126 for each
of the d products and d sums.  `product_slack` is gamma with 16 roundings to spare, and `TINY` has
8 sums to spare, for the few operations that follow a product.  There is no slack of zero.

Products of int8 codes are exact: up to 1,024 terms of at most 127 * 127 each stay below 2^24, where
float32 holds every integer, partial sums included.  numpy has no integer BLAS, so the codes are
widened to float32, some rows at a time so that they stay in the cache, and go through the float
one.  An integer SIMD kernel would take the place of `integer_dots` and of nothing else.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from .arrays import Bytes, Doubles, Floats

ROUNDOFF: Final = 2.0**-24
"""Unit roundoff of float32."""

TINY: Final = 2.0**-126
"""The smallest normal float32: below it results may be flushed to zero."""

VECDOT_DIMS: Final = 128
"""From here on one query goes through `np.vecdot`: it streams rows from memory better than `@`."""

GEMM_QUERIES: Final = 6
"""From here on queries go through one matrix product; fewer do not pay for packing the rows."""

EXACT_DIMS: Final = 1024
"""Products of int8 codes summed at a time: 1,024 * 127^2 < 2^24."""

SCRATCH_VALUES: Final = 1 << 17
"""Codes widened at a time: 512 KiB."""


def product_slack(dims: int) -> float:
    """Relative error of a float32 product of `dims` terms, 16 roundings to spare (module doc)."""
    return 1.02 * (dims + 16) * ROUNDOFF


def product_floor(dims: int) -> float:
    """Absolute error of a float32 product of `dims` terms where it underflows (module doc)."""
    return 2.0 * (dims + 8) * TINY


def float_dots(queries: Floats, vectors: Floats, out: NDArray[np.floating]) -> None:
    """Write the products of queries (g, d) with vectors (n, d) to out (g, n)."""
    if len(queries) >= GEMM_QUERIES:
        out[...] = np.matmul(vectors, queries.T).T
        return
    product = np.vecdot if queries.shape[1] >= VECDOT_DIMS else np.matmul
    for query, dots in enumerate(out):
        product(vectors, queries[query], out=dots)


def integer_dots(queries: Floats, codes: Bytes, out: Doubles) -> None:
    """Write the exact products of whole-numbered queries (g, d) with codes (n, d) to out (g, n)."""
    dims = codes.shape[1]
    step = max(1, SCRATCH_VALUES // min(dims, EXACT_DIMS))
    for start in range(0, len(codes), step):
        rows = slice(start, start + step)
        out[:, rows] = _exact_dots(queries[:, :EXACT_DIMS], codes[rows, :EXACT_DIMS])
        for first in range(EXACT_DIMS, dims, EXACT_DIMS):
            some = slice(first, first + EXACT_DIMS)
            out[:, rows] += _exact_dots(queries[:, some], codes[rows, some])


def _exact_dots(queries: Floats, codes: Bytes) -> Floats:
    dots = np.empty((len(queries), len(codes)), np.float32)
    float_dots(queries, codes.astype(np.float32), dots)
    return dots
