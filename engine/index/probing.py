"""How many partitions one query probes, so that the mean recall is what was asked for.

    rank      the partitions, best first (`CentroidSearch.rank`)
    wave      probe some of them; the k-th value so far is tau
    z         of each partition: how many widths (`spread`) its mean value lies above tau
    rate      log of the neighbours still to be found per row, after r of nlist partitions:
              a log(r / nlist) + b z of the next partition + c z of the first
    stop      where the rate has fallen to the threshold for (k, accuracy)

RULES.  A rule is, for one k, the coefficients a, b, c and for each of some accuracies a threshold
and the end of the first wave.  `calibration` finds them on sampled queries.  The rate is a Poisson
regression (McCullagh and Nelder, "Generalized Linear Models", 1989), in the spirit of learned early
termination (Li et al., SIGMOD 2020; Chatzakis et al., "DARTH", SIGMOD 2025), with three
coefficients in place of boosted trees.  z of the next partition says what it still may hold; z of
the first one tells a query that lies inside its partition from one that lies between many.

WHY EQUAL RATES.  The mean recall over queries is a sum, and so are the rows read.  The fewest rows
for a given sum of recall are read where no row could be moved from one query to another and find
more there: where all queries stop at the same marginal rate (Lagrange multipliers; Everett,
Operations Research 11, 1963).  To stop each query at the same estimated recall, as Quake's APS
does (Mohoney et al., OSDI 2025), spends rows on hard queries that would find more for others.  Of
what the best single nprobe reads for the same mean recall, this rule read 0.81, and APS 1.5, with
its target calibrated alike (geometric means: four data sets, three metrics, k of 1, 10 and 100).

A WRONG MODEL COSTS ROWS, NOT RECALL.  The threshold is not derived from the rate: it is the one at
which the whole procedure, waves included, reaches the accuracy on the sample (see `calibration`).
Recall is a mean over queries like the sampled ones; other queries, or rows that have moved since,
need another calibration.

WAVES.  A decision costs some numpy calls, and a wave a scan; a search may stop at rungs only, each
about 1.15 times the one before.  A decision foresees the rung to stop at if tau stayed as it is.
As tau can only fall, which raises z, that is mostly too far, so the wave goes 0.7 of the rungs.
Two to three waves are usual, and they read what deciding at every rung would.

A decision depends on tau and on stored numbers alone.  With the same rule the same search in the
same snapshot probes the same partitions.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Self

import numpy as np

from .arrays import Doubles, Indices
from .spread import Outlook

ACCURACIES: Final = (0.5, 0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99, 0.995, 0.999)
"""Those that a rule has a threshold for; between them it interpolates."""

RUNG: Final = 1.15
"""Each rung is about so many times the one before."""

LEAP: Final = 8
"""Rungs that a decision looks ahead."""

AHEAD: Final = np.array([0, 1, 2, 3, 3, 4, 5, 5, 6])
"""(LEAP + 1,): rungs that a wave goes, 0.7 of those up to the foreseen stop, rounded up."""

UNKNOWN_AHEAD: Final = 2
"""Rungs that a wave goes while fewer than k rows are known."""

Z_MIN: Final = -6.0
Z_MAX: Final = 9.0
"""z beyond these counts as these: the tails say nothing more."""

ALL_RUNGS: Final = 1 << 30
"""A first wave that ends at the last rung, however many there are."""

FIELDS: Final = 1 + 3 + 2 * len(ACCURACIES)
"""Numbers of a stored rule."""

_LOSSES: Final = np.log1p(-np.array(ACCURACIES[::-1]))
"""(12,): log(1 - accuracy), ascending, in which thresholds are about linear."""


@lru_cache(maxsize=64)
def ladder(nlist: int) -> Indices:
    """Rungs (l,): the numbers of partitions after which a search may stop, 1, 2, 3, ... nlist."""
    rungs = [1]
    while rungs[-1] < nlist:
        rungs.append(min(nlist, max(rungs[-1] + 1, round(rungs[-1] * RUNG))))
    made = np.array(rungs, np.intp)
    made.setflags(write=False)  # it is every caller's
    return made


def watched(rungs: Indices) -> Indices:
    """Places (l,) in the probing order whose outlook decides: the first, and those after a rung."""
    return np.concatenate([[0], rungs[:-1]])


@dataclass(frozen=True, slots=True)
class Stop:
    """When the searches for one k and accuracy stop."""

    coefficients: Doubles
    """(3,): see `Rule`"""
    threshold: float
    """the rate to stop at; -inf probes everything"""
    first: int
    """the rung, as an index, at which the first wave ends; the last one if there are fewer"""

    def first_rung(self, rungs: Indices) -> int:
        """The rung, as an index, at which the first wave ends on a ladder (l,)."""
        return min(self.first, len(rungs) - 1)


@dataclass(frozen=True, slots=True)
class Rule:
    """When searches for one k stop."""

    k: int
    coefficients: Doubles
    """(3,): of log(r / nlist) and z of the next partition, neither above 0, and z of the first"""
    thresholds: Doubles
    """(12,): rates at which to stop, for each of `ACCURACIES`, none above the one before"""
    firsts: Indices
    """(12,): rungs, as indices, at which the first wave ends, none below the one before"""

    def at(self, accuracy: float) -> Stop:
        """When to stop for an accuracy above 0; 1 and more probes everything.

        Between two of `ACCURACIES` the threshold is linear in log(1 - accuracy), and the first wave
        that of the lower one; above the last the threshold goes on falling as it did, or faster.
        """
        if accuracy >= 1:
            return Stop(self.coefficients, -math.inf, ALL_RUNGS)
        below = int(np.searchsorted(ACCURACIES, accuracy, side="right")) - 1
        first = int(self.firsts[max(below, 0)])
        return Stop(self.coefficients, self._threshold(math.log1p(-accuracy)), first)

    def _threshold(self, loss: float) -> float:
        strictest, second = self.thresholds[:-3:-1].tolist()
        if loss >= _LOSSES[0]:
            return float(np.interp(loss, _LOSSES, self.thresholds[::-1]))
        slope = max(1.0, (second - strictest) / float(_LOSSES[1] - _LOSSES[0]))
        return float(strictest + slope * (loss - _LOSSES[0]))

    def to_bytes(self) -> bytes:
        """`FIELDS` numbers '<f8': k, coefficients, thresholds, firsts."""
        numbers = np.concatenate([[self.k], self.coefficients, self.thresholds, self.firsts])
        return numbers.astype("<f8").tobytes()

    @classmethod
    def from_bytes(cls, stored: bytes) -> Self:
        """The rule that was stored; ValueError where the bytes are none."""
        if len(stored) != 8 * FIELDS:
            raise ValueError(f"a probing rule has {8 * FIELDS} bytes, not {len(stored)}")
        numbers = np.frombuffer(stored, "<f8").astype(np.float64)
        if not _is_rule(numbers):
            raise ValueError("the numbers of a probing rule contradict each other")
        k, coefficients, thresholds, firsts = np.split(numbers, _ENDS)
        return cls(int(k[0]), coefficients, thresholds, firsts.astype(np.intp))


_ENDS: Final = (1, 4, 4 + len(ACCURACIES))
"""Where the parts of a stored rule end, but for the last."""


def _is_rule(numbers: Doubles) -> bool:
    """Whether these (FIELDS,) could be what a calibration gave: of others nothing is promised."""
    k, coefficients, thresholds, firsts = np.split(numbers, _ENDS)
    counts = np.concatenate([k - 1, firsts])
    return bool(
        np.isfinite(numbers).all()
        and (coefficients[:2] <= 0).all()
        and (np.diff(thresholds) <= 0).all()
        and (np.diff(firsts) >= 0).all()
        and ((counts >= 0) & (counts <= ALL_RUNGS) & (counts == np.rint(counts))).all()
    )


def next_rung(stop: Stop, rungs: Indices, expected: Outlook, tau: float, now: int) -> int:
    """The rung, as an index, at which the next wave ends; `now` to stop: one query's decision.

    `expected` is of the partitions at the places `watched`, of all or of the first `now + LEAP + 2`
    at least; `tau` is the k-th value so far (`row_values`), inf while fewer than k rows are known.
    """
    last = len(rungs) - 1
    if now >= last or math.isinf(tau):
        return min(now + UNKNOWN_AHEAD, last)
    rates = log_rates(stop.coefficients, rungs, expected, tau)[now : now + LEAP + 1]
    stops = np.flatnonzero(rates <= stop.threshold)
    foreseen = int(stops[0]) if len(stops) else LEAP
    return min(now + int(AHEAD[foreseen]), last)


def log_rates(
    coefficients: Doubles | Sequence[float], rungs: Indices, expected: Outlook, tau: float | Doubles
) -> Doubles:
    """The rate (..., m - 1) after each of the first rungs, were tau the same there.

    For outlooks (..., m) as in `next_rung`, and taus (..., 1).
    """
    z = z_scores(expected.means, expected.widths, tau)
    shares = np.log(rungs[: z.shape[-1] - 1] / rungs[-1])
    a, b, c = coefficients
    rates: Doubles = a * shares + b * z[..., 1:] + c * z[..., :1]
    return rates


def z_scores(means: Doubles, widths: Doubles, taus: float | Doubles) -> Doubles:
    """How many widths means lie above taus, within `Z_MIN` and `Z_MAX`; shapes broadcast."""
    return np.minimum(np.maximum((means - taus) / widths, Z_MIN), Z_MAX)
