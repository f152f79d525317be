"""Rules that are fitted on sampled queries: what they promise on queries they have not seen."""

import math
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from centroidb.engine.index.calibration import (
    FIXED,
    Traces,
    calibrate,
    fit,
    fit_rates,
    nearest_by_place,
    refit_thresholds,
    replay,
    trace,
    windows,
)
from centroidb.engine.index.centroids import ExactSearch
from centroidb.engine.index.curves import expected_of
from centroidb.engine.index.distance import Metric, distances, index_space
from centroidb.engine.index.kmeans import KMeans
from centroidb.engine.index.probing import ACCURACIES, Rule, ladder, next_rung, watched
from centroidb.engine.index.spread import Outlook, Spread, row_values
from tests.index.data import METRICS, SEED, Rows, make, spread_of

ROWS, QUERIES, DIM, NLIST = 3_000, 320, 16, 55
KS = (1, 10)
ASKED = (0.8, 0.9, 0.95, 0.99)


@dataclass(frozen=True)
class Table:
    """Rows (n, d) in partitions, and what there is to know of these."""

    metric: Metric
    rows: Rows
    search: ExactSearch
    labels: NDArray[np.int32]
    spread: Spread

    @classmethod
    def of(cls, metric: Metric, rows: Rows, nlist: int) -> "Table":
        """Partition the rows by k-means, which does not see the first `QUERIES` of them."""
        means = KMeans(index_space(metric, rows[QUERIES:]), nlist, seed=SEED, rounds=5)
        while not means.done:
            means.advance([means.partial(block) for block in means.blocks()])
        search = ExactSearch(metric, means.centroids)
        labels, squares = search.assign(rows)
        return cls(metric, rows, search, labels, spread_of(labels, squares, nlist))

    def traces(self, queries: Rows, ks: tuple[int, ...], *, own: bool = False) -> list[Traces]:
        """Traces of queries (q, d) for each k; the first rows themselves, if they are their own."""
        nlist = len(self.search.centroids)
        rungs, sizes = ladder(nlist), np.bincount(self.labels, minlength=nlist)
        ranking = self.search.rank(queries, nlist)
        places = np.argsort(ranking, axis=1)
        noted = []
        for number, query in enumerate(queries):
            others = np.arange(len(self.rows)) != (number if own else -1)
            values = row_values(self.metric, distances(self.metric, query, self.rows[others]))
            place = places[number, self.labels[others]]
            noted.append([trace(values, place, rungs, k) for k in ks])
        shown = [self.outlook(*each) for each in zip(queries, ranking, strict=True)]
        expected = Outlook(np.array([v.means for v in shown]), np.array([v.widths for v in shown]))
        read = np.cumsum(sizes[ranking], axis=1)[:, rungs - 1].astype(np.float64)
        curves = np.array(noted)
        return [Traces(rungs, expected, read, c[:, 0], c[:, 1]) for c in curves.swapaxes(0, 1)]

    def outlook(self, query: Rows, ranking: NDArray[np.int32]) -> Outlook:
        """The outlook of one query (d,), for its ranking (nlist,)."""
        seen = ranking[watched(ladder(len(ranking)))]
        return expected_of(self.metric, query, self.search.centroids, seen, self.spread)


@dataclass(frozen=True)
class Case:
    """A rule, the traces it was fitted on, and those of queries it has not seen."""

    rule: Rule
    sampled: Traces
    held_out: Traces


def mixture(n: int, seed: int) -> Rows:
    """Rows (n, `DIM`) about 40 middles, of 6 dimensions at heart and a little noise in all."""
    shape, random = np.random.default_rng(SEED), np.random.default_rng((SEED, seed))
    middles, project = shape.standard_normal((40, 6)), shape.standard_normal((6, DIM))
    latent = middles[random.integers(0, 40, n)] + 0.6 * random.standard_normal((n, 6))
    noise = 0.1 * random.standard_normal((n, DIM))
    return (latent @ project + noise).astype(np.float32)


@cache
def table(metric: Metric) -> Table:
    """The table that rules are fitted on."""
    return Table.of(metric, mixture(ROWS, 0), NLIST)


@cache
def cases(metric: Metric) -> list[Case]:
    """One case for each of `KS`."""
    rows = table(metric)
    sampled = rows.traces(rows.rows[:QUERIES], KS, own=True)
    held_out = rows.traces(mixture(QUERIES, 1), KS)
    rules = [fit(k, each) for k, each in zip(KS, sampled, strict=True)]
    return [Case(*each) for each in zip(rules, sampled, held_out, strict=True)]


def stopped(rule: Rule, traces: Traces, accuracy: float) -> NDArray[np.intp]:
    """The rungs (q,) at which the queries of the traces stop."""
    stop = rule.at(accuracy)
    return replay(windows(traces, rule.coefficients), stop.threshold, stop.first)[0]


def margin(case: Case, stops: NDArray[np.intp]) -> float:
    """Three standard errors of the difference of two samples' means, and one query."""
    recalls = case.held_out.recalls[np.arange(len(stops)), stops]
    return 3 * float(recalls.std()) * math.sqrt(2 / len(stops)) + 1 / len(stops)


@pytest.mark.parametrize("metric", METRICS)
def test_queries_not_seen_find_what_was_asked(metric: Metric) -> None:
    """Mean recall is what was asked, less three standard errors and one query in 320."""
    for case in cases(metric):
        for accuracy in ASKED:
            stops = stopped(case.rule, case.held_out, accuracy)
            reached = case.held_out.recall(stops)
            assert reached >= accuracy - margin(case, stops), (case.rule.k, accuracy)


@pytest.mark.parametrize("metric", METRICS)
def test_sampled_queries_find_what_was_asked(metric: Metric) -> None:
    """On the sample itself each accuracy is reached without any margin."""
    for case in cases(metric):
        for accuracy in ACCURACIES:
            stops = stopped(case.rule, case.sampled, accuracy)
            assert case.sampled.recall(stops) >= accuracy


@pytest.mark.parametrize("metric", METRICS)
def test_a_rule_reads_less_than_one_nprobe(metric: Metric) -> None:
    """For the recall that it reaches at 0.95, a rule reads fewer rows than the same rungs for all.

    Those read between two rungs, so they are taken to lie on a line.
    """
    for case in cases(metric):
        stops = stopped(case.rule, case.held_out, 0.95)
        everywhere = case.held_out.recalls.mean(axis=0)
        fixed = np.interp(case.held_out.recall(stops), everywhere, case.held_out.rows.mean(axis=0))
        assert case.held_out.rows_read(stops) < fixed


@pytest.mark.parametrize("metric", METRICS)
def test_a_larger_accuracy_reads_no_less(metric: Metric) -> None:
    """Mean rows and mean recall never fall as the accuracy rises; nor is a threshold higher."""
    for case in cases(metric):
        stops = [stopped(case.rule, case.held_out, accuracy) for accuracy in (*ACCURACIES, 1.0)]
        assert (np.diff([case.held_out.rows_read(each) for each in stops]) >= 0).all()
        assert (np.diff([case.held_out.recall(each) for each in stops]) >= 0).all()
        assert (np.diff(case.rule.thresholds) <= 0).all()
        assert (np.diff(case.rule.firsts) >= 0).all()


@pytest.mark.parametrize("metric", METRICS)
def test_one_query_goes_the_way_of_all(metric: Metric) -> None:
    """A query that is decided by itself stops where it does among all, after as many waves."""
    for case in cases(metric):
        for accuracy in (0.8, 0.99, 1.0):
            stop = case.rule.at(accuracy)
            seen = windows(case.held_out, case.rule.coefficients)
            stops, waves = replay(seen, stop.threshold, stop.first)
            for number in range(0, QUERIES, 8):
                alone = walked(case, accuracy, number)
                assert alone == (stops[number], waves[number])


def walked(case: Case, accuracy: float, number: int) -> tuple[int, int]:
    """Where one held-out query stops, and its waves."""
    traces, stop = case.held_out, case.rule.at(accuracy)
    expected = Outlook(traces.expected.means[number], traces.expected.widths[number])
    now, waves = stop.first_rung(traces.rungs), 1
    while (
        then := next_rung(stop, traces.rungs, expected, float(traces.taus[number, now]), now)
    ) > now:
        now, waves = then, waves + 1
    return now, waves


@pytest.mark.parametrize("metric", METRICS)
def test_a_rule_from_its_bytes_stops_alike(metric: Metric) -> None:
    """A fitted rule survives its bytes: all queries stop where they did."""
    for case in cases(metric):
        again = Rule.from_bytes(case.rule.to_bytes())
        for accuracy in ASKED:
            stops = stopped(case.rule, case.held_out, accuracy)
            assert (stopped(again, case.held_out, accuracy) == stops).all()


@pytest.mark.parametrize("nlist", [1, 3])
@pytest.mark.parametrize("k", [1, 7, 50])
def test_few_partitions_and_fewer_rows_than_k(nlist: int, k: int) -> None:
    """A rule for 1 or 3 partitions reaches each accuracy; k above the rows probes everything."""
    rows = Table.of("l2", mixture(QUERIES + 40, 0), nlist)
    few = replace(rows, rows=rows.rows[-40:], labels=rows.labels[-40:])
    (sampled,) = few.traces(rows.rows[:60], (k,))
    rule = fit(k, sampled)

    for accuracy in (*ACCURACIES, 1.0):
        stops = stopped(rule, sampled, accuracy)
        assert sampled.recall(stops) >= accuracy
        if k > 40:
            assert (sampled.rungs[stops] == nlist).all()


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", ["constant", "duplicates", "huge", "smallest", "mixed"])
def test_hard_rows_are_calibrated(metric: Metric, kind: str) -> None:
    """Rows that are hard on floating point have rules that reach each accuracy on the sample."""
    rows = make(kind, 600, 4)
    (sampled,) = Table.of(metric, rows, 12).traces(rows[:50], (5,), own=True)
    rule = Rule.from_bytes(fit(5, sampled).to_bytes())

    for accuracy in ACCURACIES:
        assert sampled.recall(stopped(rule, sampled, accuracy)) >= accuracy


def test_other_queries_set_thresholds_and_keep_coefficients() -> None:
    """After queries of another kind a rule reaches its accuracies on these, by thresholds alone."""
    case = cases("l2")[1]
    middling = (mixture(QUERIES, 2) + mixture(QUERIES, 3)) / 2
    (asked,) = table("l2").traces(middling.astype(np.float32), KS[1:])

    again = refit_thresholds(case.rule, asked)

    assert again.coefficients is case.rule.coefficients
    assert again.k == case.rule.k
    assert asked.recall(stopped(case.rule, asked, 0.9)) < 0.9
    assert asked.recall(stopped(again, asked, 0.9)) >= 0.9


def test_a_trace_is_what_a_search_finds() -> None:
    """Taus and recalls are those of sorting what each rung has read; ties count as found."""
    random = np.random.default_rng(SEED)
    rungs = ladder(20)
    for k in (1, 4, 30, 300):
        values, places = random.integers(0, 40, 200) / 8, random.integers(0, 20, 200)
        taus, recalls = trace(values, places, rungs, k)
        truth = np.sort(values)[min(k, 200) - 1]
        for rung, probes in enumerate(rungs):
            seen = np.sort(values[places < probes])
            known = len(seen) >= min(k, 200)
            assert taus[rung] == (seen[min(k, 200) - 1] if known else np.inf)
            assert recalls[rung] == min(1.0, (seen <= truth).sum() / min(k, 200))


def test_a_trace_needs_few_rows_of_each_partition() -> None:
    """A trace of the k nearest rows of each partition is that of all rows."""
    random = np.random.default_rng(SEED)
    values, places = random.integers(0, 90, 500) / 8, random.integers(0, 20, 500)
    for k in (1, 5, 40):
        kept = nearest_by_place(values, places, k)
        assert len(kept) <= 20 * k
        for whole, part in zip(
            trace(values, places, ladder(20), k),
            trace(values[kept], places[kept], ladder(20), k),
            strict=True,
        ):
            assert whole.tolist() == part.tolist()


def test_no_rows_have_nothing_to_find() -> None:
    """Without rows nothing is missed, and no k-th value is ever known."""
    taus, recalls = trace(np.empty(0), np.empty(0, np.intp), ladder(3), 5)

    assert taus.tolist() == [np.inf] * 3
    assert recalls.tolist() == [1.0] * 3


@pytest.mark.parametrize("metric", METRICS)
def test_fitted_rates_fall_with_probes_and_distance(metric: Metric) -> None:
    """The coefficients of the probes and of the next partition are never above 0."""
    for case in cases(metric):
        assert (fit_rates(case.sampled)[:2] <= 0).all()
        assert (case.rule.coefficients[:2] <= 0).all()


def test_nothing_to_find_leaves_a_fixed_rule() -> None:
    """Where the first partition holds all that is near, there is no rate to fit."""
    case = cases("l2")[0]
    found = replace(case.sampled, recalls=np.ones_like(case.sampled.recalls))

    assert fit_rates(found) is FIXED
    thresholds, firsts = calibrate(found, FIXED)
    stops, waves = replay(windows(found, FIXED), float(thresholds[-1]), int(firsts[-1]))
    assert (stops == 0).all()
    assert (waves == 1).all()
