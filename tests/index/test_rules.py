"""Rules of a calibration: stored and read back, and asked for any k."""

import numpy as np
import pytest

from centroidb.engine.index.probing import ACCURACIES, Rule
from centroidb.engine.index.rules import KS, Rules
from centroidb.engine.index.spread import Spread


def rule(k: int, level: float) -> Rule:
    """A rule whose numbers say which one it is."""
    n = len(ACCURACIES)
    thresholds = level - np.arange(n, dtype=np.float64)
    return Rule(k, np.array([-level, -1.0, 0.5]), thresholds, np.full(n, int(level)))


RULES = Rules(
    77,
    Spread(np.array([1.0, 2.0, 0.0]), 7.5),
    tuple(rule(k, 2.0 + k) for k in KS),
    writes=12,
    captured=70,
)


def test_rules_survive_their_bytes() -> None:
    """What is stored is what is read."""
    again = Rules.from_bytes(RULES.to_bytes())

    assert again.to_bytes() == RULES.to_bytes()
    assert (again.writes, again.captured, again.nlist, again.spread.dims) == (12, 70, 3, 7.5)
    assert again.centroids_crc == 77


@pytest.mark.parametrize("number", range(len(KS)))
def test_a_k_that_was_calibrated_has_its_own_rule(number: int) -> None:
    """Nothing of its neighbours is in it."""
    stop, own = RULES.at(KS[number], 0.9).stop, RULES.rules[number].at(0.9)

    assert stop.coefficients.tolist() == own.coefficients.tolist()
    assert (stop.threshold, stop.first) == (own.threshold, own.first)


def test_other_k_lie_between() -> None:
    """Linear in log k, and as the outermost beyond; the first wave is the shorter one."""
    thresholds = [
        RULES.at(k, 0.9).stop.threshold for k in (1, 2, 5, 10, 20, 50, 100, 300, 1_000, 9_000)
    ]

    assert thresholds[:-1] == sorted(set(thresholds))
    assert thresholds[-1] == thresholds[-2]
    assert RULES.at(20, 0.9).stop.first == RULES.at(10, 0.9).stop.first


BYTES = RULES.to_bytes()


def with_number(place: int, number: float) -> bytes:
    """The stored rules with another number at a place."""
    return BYTES[: 8 * place] + np.float64(number).tobytes() + BYTES[8 * place + 8 :]


DAMAGE = {
    "nothing": b"",
    "cut": BYTES[:-8],
    "cut within a number": BYTES[:-3],
    "more": BYTES + bytes(8),
    "no partitions": with_number(3, 0),
    "half a partition": with_number(3, 2.5),
    "no number": with_number(1, np.nan),
    "no dimensions": with_number(4, 0),
    "a negative square": with_number(5, -1),
    "another k": with_number(8, 3),
}


@pytest.mark.parametrize("stored", DAMAGE.values(), ids=DAMAGE.keys())
def test_what_is_no_calibration_is_refused(stored: bytes) -> None:
    """ValueError, whatever is wrong with it."""
    with pytest.raises(ValueError, match=r"calibration|partitions|rule|buffer"):
        Rules.from_bytes(stored)
