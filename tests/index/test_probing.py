"""When a search stops: ladders, rules and their bytes, and one decision."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from centroidb.engine.index.distance import Metric, distances, index_space
from centroidb.engine.index.probing import (
    ACCURACIES,
    AHEAD,
    LEAP,
    Rule,
    Stop,
    ladder,
    log_rates,
    next_rung,
    watched,
)
from centroidb.engine.index.spread import (
    Outlook,
    centroid_values,
    outlook,
    row_values,
)
from tests.index.data import METRICS, SEED, make, spread_of

RULE = Rule(
    10,
    np.array([-0.6, -0.9, 0.2]),
    np.linspace(2.0, -4.0, len(ACCURACIES)),
    np.arange(len(ACCURACIES)) // 3,
)
FIELDS = len(RULE.to_bytes()) // 8

RUNGS = ladder(200)

seeds = st.integers(0, 9999)
falling = st.floats(-3, 0)


def outlook_of(seed: int) -> Outlook:
    """An outlook of as many partitions as the ladder watches, with means from 0 to 50."""
    means = 50 * np.random.default_rng(seed).random(len(RUNGS))
    return Outlook(np.sort(means), np.full(len(RUNGS), 3.0))


@pytest.mark.parametrize("nlist", [1, 2, 3, 8, 9, 500, 12_345])
def test_a_ladder_ends_at_all_partitions(nlist: int) -> None:
    """Rungs rise from 1 to nlist, by 1 or by a little more than 15 in 100."""
    rungs = ladder(nlist)

    assert (rungs[0], rungs[-1]) == (1, nlist)
    assert (np.diff(rungs) >= 1).all()
    assert (rungs[1:] <= np.maximum(rungs[:-1] + 1, 1.15 * rungs[:-1] + 0.5)).all()
    assert watched(rungs).tolist() == [0, *rungs[:-1].tolist()]


def test_a_wave_goes_seven_tenths() -> None:
    """A wave goes 0.7 of the rungs that are foreseen, rounded up: at least one."""
    assert AHEAD.tolist() == [-(-7 * foreseen // 10) for foreseen in range(LEAP + 1)]


@given(seeds, falling, falling, st.floats(-3, 3), st.floats(0, 60))
def test_more_probes_and_larger_z_never_raise_the_rate(
    seed: int, share: float, following: float, first: float, tau: float
) -> None:
    """Of partitions in the order of their means, each has a rate no higher than the one before."""
    expected = outlook_of(seed)

    rates = log_rates((share, following, first), RUNGS, expected, tau)

    assert (np.diff(rates) <= 1e-9).all()


@given(seeds, st.floats(0, 60), st.integers(0, 40), st.floats(-9, 9), st.floats(0, 9))
def test_a_lower_threshold_never_ends_a_wave_sooner(
    seed: int, tau: float, now: int, threshold: float, less: float
) -> None:
    """In the same place the stricter search goes at least as far; no search goes back."""
    expected = outlook_of(seed)
    now = min(now, len(RUNGS) - 1)

    lax = next_rung(Stop(RULE.coefficients, threshold, 0), RUNGS, expected, tau, now)
    strict = next_rung(Stop(RULE.coefficients, threshold - less, 0), RUNGS, expected, tau, now)

    assert now <= lax <= strict < len(RUNGS)


@given(seeds, st.floats(0, 60), st.integers(0, 20))
def test_a_decision_needs_no_more_than_it_sees(seed: int, tau: float, now: int) -> None:
    """A decision is the same when partitions beyond its reach have not been ranked."""
    expected = outlook_of(seed)
    reach = now + LEAP + 2
    part = Outlook(expected.means[:reach], expected.widths[:reach])

    for accuracy in (0.5, 0.9, 0.99):
        whole = next_rung(RULE.at(accuracy), RUNGS, expected, tau, now)
        assert next_rung(RULE.at(accuracy), RUNGS, part, tau, now) == whole


@pytest.mark.parametrize("nlist", [1, 3, 200])
def test_fewer_than_k_rows_never_stop_a_search(nlist: int) -> None:
    """While the k-th value is not known, a search goes on until all is probed."""
    rungs = ladder(nlist)
    expected = Outlook(np.full(len(rungs), 1e9), np.ones(len(rungs)))
    now, stop = 0, RULE.at(0.5)
    for _ in rungs:
        now = next_rung(stop, rungs, expected, math.inf, now)

    assert rungs[now] == nlist


@given(st.lists(st.floats(0.01, 0.999999), min_size=2, max_size=2))
def test_a_larger_accuracy_is_never_laxer(accuracies: list[float]) -> None:
    """The threshold falls and the first wave grows with the accuracy, between all that is known."""
    lax, strict = (RULE.at(accuracy) for accuracy in sorted(accuracies))

    assert strict.threshold <= lax.threshold
    assert strict.first >= lax.first


def test_known_accuracies_have_their_own_thresholds() -> None:
    """At the accuracies of a rule its thresholds and first waves are what was found."""
    stops = [RULE.at(accuracy) for accuracy in ACCURACIES]

    assert [stop.threshold for stop in stops] == pytest.approx(RULE.thresholds)
    assert [stop.first for stop in stops] == RULE.firsts.tolist()


@pytest.mark.parametrize("nlist", [1, 3, 200])
def test_full_accuracy_probes_everything_at_once(nlist: int) -> None:
    """Accuracy 1 has one wave, over all partitions."""
    rungs = ladder(nlist)
    stop = RULE.at(1.0)

    assert stop.threshold == -math.inf
    assert stop.first_rung(rungs) == len(rungs) - 1


def test_a_rule_survives_its_bytes() -> None:
    """A rule that was stored is the same again, to the last bit."""
    again = Rule.from_bytes(RULE.to_bytes())

    assert again.k == RULE.k
    assert again.coefficients.tolist() == RULE.coefficients.tolist()
    assert again.thresholds.tolist() == RULE.thresholds.tolist()
    assert again.firsts.tolist() == RULE.firsts.tolist()
    assert again.to_bytes() == RULE.to_bytes()


@pytest.mark.parametrize(
    "damage",
    [lambda raw: raw[:-1], lambda raw: raw + raw[:8], lambda _: b"", lambda raw: raw[8:]],
)
def test_bytes_of_another_length_are_no_rule(damage: Callable[[bytes], bytes]) -> None:
    """Bytes that are too few or too many are refused."""
    with pytest.raises(ValueError, match="bytes"):
        Rule.from_bytes(damage(RULE.to_bytes()))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *((field, math.nan) for field in range(FIELDS)),
        *((0, 0.0), (0, 2.5), (1, 0.1), (2, math.inf), (2, 0.1)),
        *((5, 3.0), (FIELDS - 1, 2.5), (FIELDS - 1, 0.0), (FIELDS - 1, 1e300), (16, -1.0)),
    ],
)
def test_damaged_numbers_are_no_rule(field: int, value: float) -> None:
    """Numbers that no calibration gives are refused, wherever they stand."""
    numbers = np.frombuffer(RULE.to_bytes(), "<f8").copy()
    numbers[field] = value

    with pytest.raises(ValueError, match="contradict"):
        Rule.from_bytes(numbers.tobytes())


@pytest.mark.parametrize("metric", METRICS)
def test_the_outlook_is_what_a_gaussian_partition_has(metric: Metric) -> None:
    """Mean and width are those of the values of many rows drawn about a centroid."""
    random = np.random.default_rng(SEED)
    rows = random.standard_normal((20_000, 8)).astype(np.float32) + np.float32(2)
    query = make("random", 1, 8)[0]
    placed = index_space(metric, rows)
    centroid = placed.mean(axis=0, keepdims=True)
    squares = np.square(placed - centroid).sum(axis=1, dtype=np.float64)
    spread = spread_of(np.zeros(len(rows), np.int32), squares, 1)

    near = centroid_values(metric, query, centroid)
    expected = outlook(metric, spread, np.zeros(1, np.intp), near, float(query @ query))

    values = row_values(metric, distances(metric, query, rows))
    assert expected.means[0] == pytest.approx(values.mean(), rel=1e-3)
    assert expected.widths[0] == pytest.approx(
        values.std(), rel=0.4 if metric == "cosine" else 0.03
    )


def test_empty_partitions_spread_like_the_others() -> None:
    """A partition without rows has the mean spread of all rows; without any rows it is 0."""
    spread = spread_of(np.array([0, 0, 2], np.int32), np.array([1.0, 3.0, 5.0]), 4)
    nothing = spread_of(np.empty(0, np.int32), np.empty(0), 2)

    assert spread.squares.tolist() == [2.0, 3.0, 5.0, 3.0]
    assert nothing == replace(nothing, squares=nothing.squares, dims=1.0)
    assert nothing.squares.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("size", [0.0, 1e-40, 1.0, 1e36])
def test_rows_all_alike_still_have_a_width(metric: Metric, size: float) -> None:
    """Rows that lie equally far from their centroid, or on it, leave every width above 0."""
    spread = spread_of(np.zeros(3, np.int32), np.full(3, size), 1)
    expected = outlook(metric, spread, np.zeros(1, np.intp), np.full(1, size), size)

    assert np.isfinite(spread.dims)
    assert (expected.widths > 0).all()
    assert np.isfinite(expected.widths).all()
