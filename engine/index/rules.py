"""What a calibration has found of one generation: when a search for k and an accuracy may stop."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Self

import numpy as np

from .probing import FIELDS, Rule, Stop
from .spread import Spread

KS: Final = (1, 10, 100, 1_000)
"""The k that rules are fitted for."""

_HEAD: Final = 5
"""Numbers before the rules: the first five of `to_bytes`."""


@dataclass(frozen=True, slots=True)
class Stopping:
    """When the searches of one call stop, and what they judge partitions by."""

    stop: Stop
    spread: Spread


@dataclass(frozen=True, slots=True, eq=False)
class Rules:
    """The rules for `KS`, in this order, and the spread that they were fitted with."""

    centroids_crc: int
    """that of the centroids, by which it is known whether they are for these partitions"""
    spread: Spread
    rules: tuple[Rule, ...]
    writes: int
    """rows written to the table and ended, ever, when they were fitted"""
    captured: int
    """captured queries that they were held against"""

    @property
    def nlist(self) -> int:
        """Partitions there were."""
        return len(self.spread.squares)

    def at(self, k: int, accuracy: float) -> Stopping:
        """Between two of `KS` what they say, linear in log k; outside, what the outermost says."""
        return _stopping(self, k, accuracy)

    def rule_for(self, k: int) -> Rule:
        """See `at`."""
        place = float(np.interp(math.log(k), np.log(KS), np.arange(len(KS))))
        below = int(place)
        rule = self.rules[below]
        if below < place:
            rule = _between(rule, self.rules[below + 1], place - below)
        return rule

    def to_bytes(self) -> bytes:
        """Numbers '<f8': crc, writes, captured, nlist, dims, the squares, the rules."""
        counts = [self.centroids_crc, self.writes, self.captured, self.nlist]
        head = np.array([*counts, self.spread.dims, *self.spread.squares])
        return head.astype("<f8").tobytes() + b"".join(rule.to_bytes() for rule in self.rules)

    @classmethod
    def from_bytes(cls, stored: bytes) -> Self:
        """The rules that were stored; ValueError where the bytes are none."""
        numbers = np.frombuffer(stored, "<f8").astype(np.float64)  # ValueError: not whole numbers
        if len(numbers) < _HEAD or not np.isfinite(numbers).all():
            raise ValueError("rules of a calibration are cut off, or not finite")
        crc, writes, captured, nlist, dims = numbers[:_HEAD].tolist()
        start = _HEAD + nlist
        if nlist < 1 or len(numbers) != start + FIELDS * len(KS):
            raise ValueError(f"{len(numbers)} numbers can not be rules for {nlist} partitions")
        squares = numbers[_HEAD : int(start)]
        if dims < 1 or squares.min() < 0:
            raise ValueError("the spread of a calibration can not be")
        size = 8 * FIELDS
        parts = range(8 * int(start), len(stored), size)
        rules = tuple(Rule.from_bytes(stored[at : at + size]) for at in parts)
        if tuple(rule.k for rule in rules) != KS:
            raise ValueError("the rules of a calibration are for other k")
        return cls(int(crc), Spread(squares, dims), rules, int(writes), int(captured))


@lru_cache(maxsize=64)
def _stopping(rules: Rules, k: int, accuracy: float) -> Stopping:
    """The same for each search that asks alike."""
    return Stopping(rules.rule_for(k).at(accuracy), rules.spread)


def _between(lower: Rule, upper: Rule, share: float) -> Rule:
    """So much of the upper one, and the rest of the lower."""
    return Rule(
        lower.k,
        (1 - share) * lower.coefficients + share * upper.coefficients,
        (1 - share) * lower.thresholds + share * upper.thresholds,
        np.minimum(lower.firsts, upper.firsts),
    )
