"""Distances and ranks in the compiled kernels: bit for bit those of numpy.

numpy adds float64 values by pairs (`pairwise_sum` of its loops), and so do these kernels:

    up to 7      one after another
    up to 128    eight sums side by side, ((0+1) + (2+3)) + ((4+5) + (6+7)), then what is left over
    more         the sums of two halves, the first of them a multiple of eight long

No product is fused into its sum.  Should a numpy add otherwise one day, `Native.agrees` says so,
and the kernels are not used.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from llvmlite import ir
from numba import carray, types
from numba.core import cgutils
from numba.extending import intrinsic

from . import native
from .native import COSINE, DOT, L2, SIEVED, SMALLEST, SQUARE
from .shelf import FIELDS, VECTORS
from .simd import (
    I64,
    bytes_at,
    compiled,
    counts_at,
    doubles_at,
    floats_at,
    integers_at,
    loaded,
    summing,
)

EIGHT: Final = 8
BLOCK: Final = 128
FLOAT_BYTES: Final = 4
DOUBLE_BYTES: Final = 8

F32, F64 = ir.FloatType(), ir.DoubleType()
FLOATS, DOUBLES = ir.VectorType(F32, EIGHT), ir.VectorType(F64, EIGHT)

Term = Callable[[Any, Any, Any, Any], Any]
"""Code for one summand: of a builder, a row's value, a query's value and a norm."""


def _sum_of(term: Term) -> Any:
    """A kernel: the sum of n terms, of a row float32, a query float64 and a norm, as numpy adds."""

    @intrinsic
    def short(_: Any, row: Any, query: Any, norm: Any, n: Any) -> Any:
        """Of at most `BLOCK` terms."""

        def code(_: Any, builder: Any, __: Any, args: Any) -> Any:
            row, query, norm, n = args
            norms, width = _repeated(builder, norm), ir.Constant(I64, EIGHT)
            sums = cgutils.alloca_once_value(builder, ir.Constant(DOUBLES, [0.0] * EIGHT))
            with cgutils.for_range(builder, builder.udiv(n, width), intp=I64) as loop:
                at = builder.mul(loop.index, width)
                values = _widened(builder, row, at, FLOATS), _read(builder, query, at, DOUBLES)
                one = term(builder, *values, norms)
                builder.store(builder.fadd(builder.load(sums), one), sums)
            total = cgutils.alloca_once_value(builder, _by_pairs(builder, builder.load(sums)))
            first = builder.sub(n, builder.urem(n, width))
            with cgutils.for_range(builder, builder.urem(n, width), intp=I64) as loop:
                at = builder.add(first, loop.index)
                values = _widened(builder, row, at, F32), _read(builder, query, at, F64)
                one = term(builder, *values, norm)
                builder.store(builder.fadd(builder.load(total), one), total)
            return builder.load(total)

        return types.float64(types.int64, types.int64, types.float64, types.int64), code

    @compiled
    def by_pairs(row: int, query: int, norm: float, n: int) -> float:
        if n <= BLOCK:
            return short(row, query, norm, n)
        half = n // 2 - n // 2 % EIGHT
        rest = by_pairs(row + FLOAT_BYTES * half, query + DOUBLE_BYTES * half, norm, n - half)
        return by_pairs(row, query, norm, half) + rest

    return by_pairs


def _read(builder: Any, start: Any, at: Any, kind: Any) -> Any:
    """Float64 values from a position on."""
    return loaded(builder, _moved(builder, start, at, DOUBLE_BYTES), kind)


def _widened(builder: Any, start: Any, at: Any, kind: Any) -> Any:
    """Float32 values from a position on, as float64."""
    values = loaded(builder, _moved(builder, start, at, FLOAT_BYTES), kind)
    return builder.fpext(values, DOUBLES if kind is FLOATS else F64)


def _moved(builder: Any, start: Any, index: Any, size: int) -> Any:
    return builder.add(start, builder.mul(index, ir.Constant(I64, size)))


def _repeated(builder: Any, value: Any) -> Any:
    values = ir.Constant(DOUBLES, ir.Undefined)
    for at in range(EIGHT):
        values = builder.insert_element(values, value, ir.Constant(ir.IntType(32), at))
    return values


def _by_pairs(builder: Any, values: Any) -> Any:
    """((0+1) + (2+3)) + ((4+5) + (6+7))"""
    sums = [builder.extract_element(values, ir.Constant(ir.IntType(32), at)) for at in range(EIGHT)]
    while len(sums) > 1:
        sums = [builder.fadd(one, other) for one, other in zip(sums[::2], sums[1::2], strict=True)]
    return sums[0]


def _product(builder: Any, x: Any, q: Any, _: Any) -> Any:
    return builder.fmul(x, q)


def _square(builder: Any, x: Any, _: Any, __: Any) -> Any:
    return builder.fmul(x, x)


def _squared_difference(builder: Any, x: Any, q: Any, _: Any) -> Any:
    difference = builder.fsub(x, q)
    return builder.fmul(difference, difference)


def _squared_turn(builder: Any, x: Any, q: Any, norm: Any) -> Any:
    return _squared_difference(builder, builder.fdiv(x, norm), q, norm)


products: Final = _sum_of(_product)
squares: Final = _sum_of(_square)
differences: Final = _sum_of(_squared_difference)
turns: Final = _sum_of(_squared_turn)


@compiled
def distance(metric: int, row: int, direction: int, dims: int) -> float:
    """That of `distance.distances`, of a vector float32 and a direction float64, by addresses."""
    if metric == SQUARE:
        return differences(row, direction, 1.0, dims)
    if metric == L2:
        return np.sqrt(differences(row, direction, 1.0, dims))
    if metric == DOT:
        return 0.0 - products(row, direction, 1.0, dims)
    norm = np.sqrt(squares(row, direction, 1.0, dims))
    return 0.5 * turns(row, direction, norm, dims) if norm > 0 else 1.0


@compiled
def measure(arguments: int) -> int:
    """See `native`; whether there are any rows that have no vectors."""
    given = integers_at(arguments)
    metric, count, dims = given[native.METRIC], given[native.LEFT], given[native.DIMS]
    table = carray(integers_at(given[native.TABLE_AT]), (given[native.NLIST], FIELDS))
    places, query = integers_at(given[native.PLACE_AT]), integers_at(given[native.QUERY_AT])
    out, unread = doubles_at(given[native.MEASURED_AT]), bytes_at(given[native.UNREAD_AT])
    lacks = 0
    for at in range(count):
        vectors = table[places[at] >> 32, VECTORS]
        unread[at] = vectors == 0
        lacks |= vectors == 0
        out[at] = 0.0
        if vectors != 0:
            row = vectors + (places[at] & 0xFFFFFFFF) * dims * FLOAT_BYTES
            direction = given[native.DIRECTIONS_AT] + query[at] * dims * DOUBLE_BYTES
            out[at] = distance(metric, row, direction, dims)
    return lacks


@compiled
def score(metric: int, centroid: int, square: float, direction: int, dims: int) -> float:
    """What a direction ranks a centroid by: that of `centroids`; what is no number comes last."""
    product = products(centroid, direction, 1.0, dims)
    found = -product
    if metric == L2:
        found = square / 2 - product
    elif metric == COSINE:
        found = -product / np.sqrt(max(square, SMALLEST))
    return np.inf if np.isnan(found) else found


@compiled
def sink(scores: Any, labels: Any, place: int, count: int) -> None:
    """Move an entry of a heap down to where it belongs: the last one by (score, label) is on top.

    scores, labels: at least (count,), of which that many are the heap.
    """
    value, label = scores[place], labels[place]
    while 2 * place + 1 < count:
        child = 2 * place + 1
        if child + 1 < count and comes_after(
            scores, labels, child + 1, scores[child], labels[child]
        ):
            child += 1
        if not comes_after(scores, labels, child, value, label):
            break
        scores[place], labels[place] = scores[child], labels[child]
        place = child
    scores[place], labels[place] = value, label


@compiled
def comes_after(scores: Any, labels: Any, at: int, value: float, label: int) -> bool:
    """Whether an entry comes after (value, label)."""
    return scores[at] > value or (scores[at] == value and labels[at] > label)


@compiled
def put_in_order(scores: Any, labels: Any) -> None:
    """Sort a heap (n,) by (score, label)."""
    for last in range(len(labels) - 1, 0, -1):
        scores[0], scores[last] = scores[last], scores[0]
        labels[0], labels[last] = labels[last], labels[0]
        sink(scores, labels, 0, last)


@compiled
def heaped(scores: Any, labels: Any, score: float, label: int, count: int) -> int:
    """Put an entry in a heap (n,) of the first n by (score, label), which is one once it is full.

    count: how many have come before, up to n; returns how many have come now.
    """
    if count == len(labels):
        if comes_after(scores, labels, 0, score, label):
            scores[0], labels[0] = score, label
            sink(scores, labels, 0, count)
        return count
    scores[count], labels[count] = score, label
    if count + 1 == len(labels):
        heapify(scores, labels)
    return count + 1


@compiled
def heapify(scores: Any, labels: Any) -> None:
    """Make a heap of entries (n,) in any order."""
    for place in range(len(labels) // 2 - 1, -1, -1):
        sink(scores, labels, place, len(labels))


@summing
def estimate(centroid: Any, direction: Any) -> Any:
    """The product of two vectors (d,), float32, in any order."""
    total = np.float32(0)
    for at in range(len(direction)):
        total += centroid[at] * direction[at]
    return total


@compiled
def sieve(
    is_dot: bool,
    kernels: Any,
    halves: Any,
    slacks: Any,
    direction: Any,
    narrow: Any,
    estimates: Any,
    scores: Any,
    labels: Any,
) -> float:
    """Estimate scores (nlist,), and return what those of the nearest do not exceed.

    See `centroids` for kernels (nlist, d), halves (nlist,) and slacks (3,); overwrites a direction
    in float32 (d,), and the heap: scores and labels (nprobe,).
    """
    square = 0.0
    for at in range(len(direction)):
        narrow[at] = direction[at]
        square += direction[at] * direction[at]
    count = 0
    for label in range(len(kernels)):
        estimates[label] = halves[label] - estimate(kernels[label], narrow)
        count = heaped(scores, labels, estimates[label], label, count)
    relative, reach, floor = slacks
    length = 2 * np.sqrt(reach * square) if is_dot else reach + square
    return scores[0] + relative * length + floor


@compiled
def rank(arguments: int) -> int:
    """See `native`; 0."""
    given = integers_at(arguments)
    metric, nlist, dims = given[native.METRIC], given[native.NLIST], given[native.DIMS]
    nearest = given[native.PROBED]
    squares, scores = doubles_at(given[native.SQUARES_AT]), doubles_at(given[native.SCORES_AT])
    heap = carray(scores, nearest)
    ranked = carray(counts_at(given[native.RANKED_AT]), (given[native.COUNT], nearest))
    kernels = carray(floats_at(given[native.KERNELS_AT]), (nlist, dims))
    halves = carray(floats_at(given[native.HALVES_AT]), nlist)
    slacks = carray(doubles_at(given[native.SLACKS_AT]), 3)
    estimates = carray(doubles_at(given[native.ESTIMATES_AT]), nlist)
    narrow = carray(floats_at(given[native.NARROW_AT]), dims)
    for query in range(given[native.COUNT]):
        address = given[native.DIRECTIONS_AT] + query * dims * DOUBLE_BYTES
        limit, count = np.inf, 0
        if nearest * SIEVED <= nlist:
            direction = carray(doubles_at(address), dims)
            limit = sieve(
                metric == DOT,
                kernels,
                halves,
                slacks,
                direction,
                narrow,
                estimates,
                heap,
                ranked[query],
            )
        for label in range(nlist):
            if limit < np.inf and estimates[label] > limit:
                continue
            centroid = given[native.CENTROIDS_AT] + label * dims * FLOAT_BYTES
            value = score(metric, centroid, squares[label], address, dims)
            count = heaped(heap, ranked[query], value, label, count)
        put_in_order(heap, ranked[query])
    return 0


@compiled
def add_up(arguments: int) -> int:
    """See `native`; 0. Each value is added to the sum of those before it."""
    given = integers_at(arguments)
    dims, labels = given[native.DIMS], counts_at(given[native.LABELS_AT])
    rows, sums = floats_at(given[native.ROWS_AT]), doubles_at(given[native.SUMS_AT])
    for at in range(given[native.LEFT]):
        start = labels[at] * dims
        for value in range(dims):
            sums[start + value] += rows[at * dims + value]
    return 0
