"""Fitting the rules of `probing` on sampled queries.

    trace        one sampled query, searched to the end and noted at each rung
    fit_rates    the coefficients, by regression
    calibrate    for each accuracy the threshold at which the whole procedure reaches it
    fit          the better of several coefficients, calibrated

A threshold is the largest at which the searches of the sample, replayed with their waves, reach the
accuracy on average, found by bisection.  This is how learn-then-test and conformal risk control
set a parameter (Angelopoulos et al., 2021 and 2022): by the measured loss of the procedure as it
will run, so nothing depends on the model.  Here the mean itself is held to the accuracy, without
their margin for a finite sample: on other queries it is reached on average over samples, and is off
by a standard error or so, sqrt(a (1 - a) / n) for k = 1 and less than that for larger k.

Sampled queries are rows of the table, each left out of its own answer.  Rows that k-means has seen
are easier to find than others, so they should be kept out of its sample.  Queries that were asked
may be of another kind: where a rule fails them (`held_against`) they set its thresholds.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from .arrays import Doubles, Indices
from .probing import ACCURACIES, AHEAD, LEAP, UNKNOWN_AHEAD, Rule, log_rates, z_scores
from .spread import Outlook
from .topk import group_positions

FIRST_SHARE: Final = 0.15
"""The first wave ends where this part of the sampled queries have stopped."""

HALVINGS: Final = 13
"""Steps of a bisection: the threshold is found to a thousandth or so."""

RIDGE: Final = 1e-3
"""Keeps the regression solvable where a feature is constant."""

NEWTON_STEPS: Final = 40
NEWTON_LONGEST: Final = 2.0
NEWTON_DONE: Final = 1e-5
"""Newton's method ends at a step below the last of these; none is longer than the second."""

FIXED: Final = np.array([-1.0, -0.1, 0.05])
"""(3,): coefficients with which all queries stop after much the same number of probes."""

COMPARED: Final = (0.8, 0.9, 0.95, 0.99)
"""Accuracies at which coefficients are compared by what they read."""

PREFERENCE: Final = 0.02
"""By so much, in log rows, others must read less than the fitted coefficients."""


JUDGED: Final = 0.95
"""The accuracy by which a rule is held against queries that were asked."""

SHORT: Final = 2.5
"""Standard errors by which their recall has to fall short."""

ERROR_MIN: Final = 0.1
"""Standard deviation of recalls, at least: those of few queries may all be 1."""


@dataclass(frozen=True, slots=True)
class Traces:
    """Sampled queries (q,), at least one, searched to the end for one k and noted at each rung."""

    rungs: Indices
    """(l,): see `ladder`"""
    expected: Outlook
    """(q, l): of the partitions at the places `watched`"""
    rows: Doubles
    """(q, l): rows read so far"""
    taus: Doubles
    """(q, l): the k-th value so far, inf while fewer rows are known"""
    recalls: Doubles
    """(q, l): share of the nearest k found so far"""

    def __len__(self) -> int:
        return len(self.rows)

    def recall(self, stops: Indices) -> float:
        """Mean recall if the queries stop at these rungs (q,)."""
        return float(self.recalls[np.arange(len(self)), stops].mean())

    def rows_read(self, stops: Indices) -> float:
        """Mean rows read if the queries stop at these rungs (q,)."""
        return float(self.rows[np.arange(len(self)), stops].mean())


def trace(values: Doubles, places: Indices, rungs: Indices, k: int) -> tuple[Doubles, Doubles]:
    """Taus (l,) and recalls (l,) of one query, searched to the end.

    `values` (n,) of the rows but for the query's own; `places` (n,) in the probing order of the
    partition that each is in.  With fewer than k rows, all are wanted.  Rows as near as the k-th
    count as found, whichever of them a search returns.  A row may be left out if k others that are
    probed no later are nearer; so blocks of rows can be reduced one by one (`nearest_by_place`).
    """
    k = min(k, len(values))
    taus = np.full(len(rungs), np.inf)
    if not k:
        return taus, np.ones(len(rungs))
    levels = np.searchsorted(rungs, places, side="right")
    near = _candidates(values, levels, k)
    values, levels = values[near], levels[near]
    truth = values[k - 1]
    read = np.bincount(levels, minlength=len(rungs)).cumsum()
    found = np.bincount(levels[values <= truth], minlength=len(rungs)).cumsum()
    for rung in np.flatnonzero((read >= k) & (found < k)):
        taus[rung] = values[levels <= rung][k - 1]
    taus[found >= k] = truth
    return taus, np.minimum(found, k) / k


def _candidates(values: Doubles, levels: Indices, k: int) -> Indices:
    """Rows, nearest first, that may be among the k nearest of some rung: k <= n.

    No tau is above that of the first rung that has k rows.
    """
    counts = np.cumsum(np.bincount(levels))
    early = values[levels <= np.searchsorted(counts, k)]
    near = np.flatnonzero(values <= np.partition(early, k - 1)[k - 1])
    return near[np.argsort(values[near], kind="stable")]


def nearest_by_place(values: Doubles, places: Indices, k: int) -> Indices:
    """Positions of rows (n,) that `trace` needs: the k nearest in each place, in no order."""
    order = np.lexsort((values, places))
    return order[group_positions(places[order]) < k]


def fit_rates(traces: Traces) -> Doubles:
    """Coefficients (3,) of the rate at which neighbours are found from a rung to the next.

    Poisson regression with the rows between as exposure, by Newton's method.  More probes and a
    larger z never raise the rate.
    """
    features, found, exposure = _observed(traces)
    if not found.any():
        return FIXED
    weights = np.zeros(features.shape[1])
    weights[0] = np.log(found.sum() / exposure.sum())
    for _ in range(NEWTON_STEPS):
        step = _newton_step(features, found, exposure, weights)
        weights += step
        if np.abs(step).max() < NEWTON_DONE:
            break
    _, share, following, first = weights
    return np.array([min(share, 0.0), min(following, 0.0), first])


def _observed(traces: Traces) -> tuple[Doubles, Doubles, Doubles]:
    """Features (n, 4), recall gained (n,) and share of the rows read (n,), from rung to rung.

    Only from rungs at which k rows are known.
    """
    expected, taus = traces.expected, traces.taus[:, :-1]
    known = np.isfinite(taus)
    shares = np.log(traces.rungs[:-1] / traces.rungs[-1])
    following = z_scores(expected.means[:, 1:], expected.widths[:, 1:], taus)
    first = z_scores(expected.means[:, :1], expected.widths[:, :1], taus)
    parts = (np.ones_like(taus), np.broadcast_to(shares, taus.shape), following, first)
    features = np.stack([part[known] for part in parts], axis=1)
    found = np.diff(traces.recalls, axis=1)[known]
    rows = np.diff(traces.rows, axis=1)[known] / max(1.0, float(traces.rows[:, -1].mean()))
    return features, found, np.maximum(rows, 1e-9)


def _rates(traces: Traces, coefficients: Doubles, now: int) -> Doubles:
    """The rates (q, l - 1) that the queries see when they decide at rung `now`."""
    return log_rates(coefficients, traces.rungs, traces.expected, traces.taus[:, now : now + 1])


def _newton_step(features: Doubles, found: Doubles, exposure: Doubles, weights: Doubles) -> Doubles:
    """A step (m,) uphill in the penalised likelihood, at most `NEWTON_LONGEST` in any direction."""
    expected = np.exp(np.clip(features @ weights, -60, 20)) * exposure
    slope = features.T @ (found - expected) - RIDGE * weights
    curve = (features.T * expected) @ features + RIDGE * np.eye(len(weights))
    step = np.linalg.solve(curve, slope).astype(np.float64, copy=False)
    return step * min(1.0, NEWTON_LONGEST / max(float(np.abs(step).max()), NEWTON_DONE))


def windows(traces: Traces, coefficients: Doubles) -> Doubles:
    """What `next_rung` compares with the threshold at each rung: rates (q, l, LEAP + 1).

    inf where it goes on whatever the threshold, -inf where it stops.
    """
    result = np.full((*traces.taus.shape, LEAP + 1), -np.inf)
    for now in range(len(traces.rungs) - 1):
        rates = _rates(traces, coefficients, now)[:, now : now + LEAP + 1]
        result[:, now, : rates.shape[1]] = rates
        unknown = np.isinf(traces.taus[:, now])
        result[unknown, now] = -np.inf
        result[unknown, now, :UNKNOWN_AHEAD] = np.inf
    return result


def replay(seen: Doubles, threshold: float, first: int) -> tuple[Indices, Indices]:
    """Rungs (q,), as indices, at which queries stop, and their waves (q,): `next_rung` for all.

    `seen` (q, l, LEAP + 1) as `windows` gives them.
    """
    last = seen.shape[1] - 1
    stops = np.full(len(seen), min(first, last))
    waves = np.zeros(len(seen), np.intp)
    moving = np.arange(len(seen))
    while len(moving):
        waves[moving] += 1
        reached = seen[moving, stops[moving]] <= threshold
        foreseen = np.where(reached.any(axis=1), reached.argmax(axis=1), LEAP)
        moving, foreseen = moving[foreseen > 0], foreseen[foreseen > 0]
        stops[moving] = np.minimum(stops[moving] + AHEAD[foreseen], last)
    return stops, waves


def calibrate(
    traces: Traces, coefficients: Doubles, accuracies: Sequence[float] = ACCURACIES
) -> tuple[Doubles, Indices]:
    """Thresholds (a,) and first rungs (a,) with which the traces reach ascending accuracies (a,).

    Thresholds never rise from one to the next, and first rungs never fall.
    """
    seen = windows(traces, coefficients)
    finite = seen[np.isfinite(seen)]
    lowest, threshold = (finite.min() - 1, finite.max() + 1) if len(finite) else (-1.0, 1.0)
    thresholds, firsts, first = [], [], 0
    for accuracy in accuracies:
        # Where the first wave may end follows from where searches stop, and these from it.
        alone = _bisected(traces, seen, accuracy, (lowest, threshold), first)
        stops, _ = replay(seen, alone, first)
        first = max(first, int(np.quantile(stops, FIRST_SHARE, method="lower")))
        threshold = _bisected(traces, seen, accuracy, (lowest, threshold), first)
        thresholds.append(threshold)
        firsts.append(first)
    return np.array(thresholds), np.array(firsts, np.intp)


def _bisected(
    traces: Traces, seen: Doubles, accuracy: float, ends: tuple[float, float], first: int
) -> float:
    """The largest threshold, about, at which the accuracy is reached; at the lower end it is."""
    low, high = ends
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        stops, _ = replay(seen, middle, first)
        if traces.recall(stops) >= accuracy:
            low = middle
        else:
            high = middle
    return low


def fit(k: int, traces: Traces) -> Rule:
    """The rule for one k from sampled queries.

    Where what is near lies in partitions that rank late (dot over rows that drifted), stopping by
    the rate reads more than a fixed number of probes would.  So that one, nearly, competes.
    """
    fitted = fit_rates(traces)
    candidates = (fitted, fitted * (1.0, 0.5, 0.5), FIXED)
    costs = np.array([_log_rows(traces, each) for each in candidates])
    costs[0] -= PREFERENCE
    best = candidates[int(costs.argmin())]
    return Rule(k, best, *calibrate(traces, best))


def _log_rows(traces: Traces, coefficients: Doubles) -> float:
    """Mean log of the rows that searches read for the accuracies that matter."""
    seen = windows(traces, coefficients)
    thresholds, firsts = calibrate(traces, coefficients, COMPARED)
    stops = [replay(seen, float(t), int(f))[0] for t, f in zip(thresholds, firsts, strict=True)]
    return float(np.mean([np.log(max(1.0, traces.rows_read(each))) for each in stops]))


def held_against(rule: Rule, traces: Traces) -> Rule:
    """The rule, with thresholds by queries that were asked where it does not do for them.

    They are too few to say it well, so what sampled rows say stays unless it is clearly wrong.
    """
    stop = rule.at(JUDGED)
    stops, _ = replay(windows(traces, rule.coefficients), stop.threshold, stop.first)
    recalls = traces.recalls[np.arange(len(traces)), stops]
    error = max(float(recalls.std()), ERROR_MIN) / math.sqrt(len(traces))
    short = (JUDGED - float(recalls.mean())) / error
    return refit_thresholds(rule, traces) if short > SHORT else rule


def refit_thresholds(rule: Rule, traces: Traces) -> Rule:
    """The rule with thresholds and first waves by other queries, such as were asked, for its k."""
    thresholds, firsts = calibrate(traces, rule.coefficients)
    return replace(rule, thresholds=thresholds, firsts=firsts)
