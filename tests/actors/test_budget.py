"""The plan of a build: within its budget, the same at any width, and no larger than it must be."""

import re
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from centroidb import InputError, Limits
from centroidb.engine.actors.rebuild.budget import plan_build
from centroidb.engine.actors.rebuild.footprint import BuildSize
from centroidb.engine.actors.rebuild.pieces import groups, partition_sizes, pieces

Homes = np.ndarray[tuple[int], np.dtype[np.int32]]

MB = 1_000_000
BUDGETS = st.integers(1, 1 << 34)
WIDTHS = st.integers(1, 256)


@st.composite
def sizes(draw: st.DrawFn) -> BuildSize:
    """Builds from no rows to a hundred million, of few dimensions or many."""
    rows = draw(st.integers(0, 100_000_000))
    limits = Limits(
        slice_bytes=draw(st.integers(1, 1 << 24)), delta_rows=draw(st.integers(1, 100_000))
    )
    nlist = draw(st.integers(1, max(1, min(rows, 100_000))))
    dim, samples = draw(st.integers(1, 4096)), draw(st.integers(1, 500))
    return BuildSize.of(rows, dim, nlist, samples=samples, limits=limits)


@given(sizes(), WIDTHS, BUDGETS)
def test_no_phase_takes_more_than_the_budget(
    size: BuildSize, parallel: int, memory_bytes: int
) -> None:
    """Whatever the build and the width, a plan stays within its budget, or there is none."""
    try:
        plan = plan_build(size, parallel, memory_bytes)
    except InputError:
        return
    assert max(plan.bytes_by_phase.values()) == plan.peak_bytes <= memory_bytes
    assert all(1 <= lanes <= parallel for lanes in vars(plan.width).values())
    usual = vars(plan_build(size, parallel, None).cut)
    assert all(0 <= rows <= usual[name] for name, rows in vars(plan.cut).items())


@given(sizes(), WIDTHS, BUDGETS)
def test_the_width_does_not_change_the_cut(
    size: BuildSize, parallel: int, memory_bytes: int
) -> None:
    """What is kept to go on, and what is made, must not depend on how many work on it."""
    try:
        alone = plan_build(size, 1, memory_bytes)
    except InputError:
        with pytest.raises(InputError):
            plan_build(size, parallel, memory_bytes)
        return
    assert plan_build(size, parallel, memory_bytes).cut == alone.cut


@given(sizes())
def test_the_least_that_is_named_is_enough(size: BuildSize) -> None:
    """The error of a budget of one byte names a budget that is taken; a byte less is not."""
    with pytest.raises(InputError) as caught:
        plan_build(size, 4, 1)
    (least,) = re.findall(r"at least (\d+)", str(caught.value))
    assert plan_build(size, 4, int(least)).peak_bytes <= int(least)
    with pytest.raises(InputError, match="got"):
        plan_build(size, 4, int(least) - 1)


@given(sizes(), BUDGETS, BUDGETS)
def test_more_memory_is_used(size: BuildSize, one: int, other: int) -> None:
    """A larger budget never makes the sample smaller; one large enough makes everything usual."""
    usual = plan_build(size, 4, None)
    low, high = sorted((one, other))
    try:
        assert plan_build(size, 1, low).cut.sample <= plan_build(size, 1, high).cut.sample
    except InputError:
        assert low < usual.peak_bytes
    assert plan_build(size, 4, 4 * usual.peak_bytes).cut == usual.cut


def test_a_prediction_is_the_peak_of_the_plan() -> None:
    """The figure for EXPLAIN is known without building, with a budget and without."""
    size = BuildSize.of(1_000_000, 64, 1_000, samples=100, limits=Limits())
    without = plan_build(size, 2, None).peak_bytes
    within = plan_build(size, 2, 40 * MB).peak_bytes
    assert within <= 40 * MB < without
    with pytest.raises(InputError, match="1,000,000 rows of 64 dimensions in 1,000 partitions"):
        plan_build(size, 2, 12 * MB)


def _sorted_at_once(homes: Homes, rows_a_segment: int) -> Iterator[tuple[int, list[int]]]:
    for centroid in np.unique(homes).tolist():
        rows = np.flatnonzero(homes == centroid).tolist()
        for start in range(0, len(rows), rows_a_segment):
            yield centroid, rows[start : start + rows_a_segment]


@given(
    arrays.arrays(np.int32, st.integers(0, 200), elements=st.integers(0, 12)),
    st.integers(1, 40),
    st.integers(1, 250),
    st.integers(1, 30),
)
def test_the_pieces_are_the_same_in_any_number_of_passes(
    homes: Homes, rows_a_segment: int, rows_a_pass: int, step: int
) -> None:
    """Sorted at once or partition by partition, each piece has the same rows in the same order."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("centroidb.engine.actors.rebuild.pieces.POSITIONS_A_STEP", step)
        found = list(pieces(homes, partition_sizes(homes, 13), rows_a_segment, rows_a_pass))
    assert [(centroid, rows.tolist()) for centroid, rows in found] == list(
        _sorted_at_once(homes, rows_a_segment)
    )
    grouped = list(groups(iter(found), 50))
    assert [piece for group in grouped for piece in group] == found
    assert all(sum(len(rows) for _, rows in group) <= 50 for group in grouped)
