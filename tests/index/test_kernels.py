"""The products that sieve: exact where they claim it, and off by no more than they claim."""

from fractions import Fraction

import numpy as np
import pytest

from centroidb.engine.index import kernels
from centroidb.engine.index.distance import squared_norms
from centroidb.engine.index.kernels import (
    float_dots,
    integer_dots,
    product_floor,
    product_slack,
)
from tests.index.data import KINDS, SEED, make


@pytest.mark.parametrize("queries", [1, 3, 4, 20])
@pytest.mark.parametrize("dims", [1, 2, 127, 128, 300])
@pytest.mark.parametrize("kind", KINDS)
def test_a_float_product_is_off_by_no_more_than_its_slack(
    kind: str, dims: int, queries: int
) -> None:
    """|computed - exact| <= slack |x| |q| + floor for every kernel, in exact arithmetic."""
    rows, wanted = make(kind, 9, dims), make(kind, queries, dims, SEED + 1)
    dots = np.empty((queries, 9), np.float32)

    float_dots(wanted, rows, dots)

    norms = np.sqrt(np.outer(squared_norms(wanted), squared_norms(rows)))
    allowed = product_slack(dims) * norms + product_floor(dims)
    for q, n in ((0, 0), (queries - 1, 3), (queries // 2, 8)):
        pairs = zip(wanted[q].tolist(), rows[n].tolist(), strict=True)
        exact = sum(Fraction(a) * Fraction(b) for a, b in pairs)
        assert abs(Fraction(float(dots[q, n])) - exact) <= Fraction(float(allowed[q, n]))


@pytest.mark.parametrize("queries", [1, 3, 4, 20])
@pytest.mark.parametrize("dims", [1, 7, 1023, 1024, 1025, 5000])
def test_integer_products_are_exact(
    dims: int, queries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Products of codes are exact, extreme codes and several slices of rows included."""
    monkeypatch.setattr(kernels, "SCRATCH_VALUES", 3 * dims)
    random = np.random.default_rng(SEED)
    codes = random.integers(-127, 128, (11, dims)).astype(np.int8)
    codes[0], codes[1] = 127, -127
    wanted = random.integers(-127, 128, (queries, dims)).astype(np.float32)
    wanted[0] = 127

    dots = np.empty((queries, 11))
    integer_dots(wanted, codes, dots)

    expected = wanted.astype(np.int64) @ codes.T.astype(np.int64)
    assert dots.astype(np.int64).tolist() == expected.tolist()


def test_partial_sums_of_codes_stay_exact_in_float32() -> None:
    """The longest slice of codes sums to less than float32 can count."""
    assert kernels.EXACT_DIMS * 127 * 127 < 2**24
