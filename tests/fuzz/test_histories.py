"""The checker of histories: it takes what can have happened, and finds what can not."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from fuzz.histories.checker import check, nearest
from fuzz.histories.history import Commit, Finding, History, Reads, Refusal, Sight, Wish
from fuzz.histories.players import KEYS, one_ring
from fuzz.oracle import Bad
from fuzz.steps import QUERY

FIRST = 4


def sight(lsn: int, rows: dict[int, int], before: int = FIRST) -> Sight:
    """The whole table as somebody saw it."""
    return Sight(before=before, lsn=lsn, table="t", rows=rows)


def wish(key: int, number: int, snapshot: int | None, reads: Reads | None = None) -> Wish:
    """One row is to be written."""
    return Wish(before=FIRST, snapshot=snapshot, writes={("t", key): number}, reads=reads)


def sound() -> History:
    """Two rows, three commits, one refusal, and what was seen between them."""
    history = History(FIRST, {("t", 1): 10, ("t", 2): 20})
    everything = Reads(frozenset(), frozenset({"t"}))
    history.commit(5, wish(1, 11, None))
    history.commit(6, wish(2, 21, 4))
    history.commit(7, wish(1, 12, 6, everything))
    history.refusals.append(Refusal(wish(1, 13, 4), "it was changed", 7))
    history.sights += [
        sight(4, {1: 10, 2: 20}),
        sight(6, {1: 11, 2: 21}),
        sight(7, {1: 12, 2: 21}, before=7),
        replace(sight(4, {2: 22}), keys=(2,), own={("t", 2): 22}),
        replace(sight(5, {}), keys=(3,)),
    ]
    keys, measured = nearest({1: 11, 2: 20}, QUERY, 5)
    finding = Finding(before=4, lsn=5, table="t", query=QUERY, k=5, keys=keys, distances=measured)
    history.findings.append(finding)
    return history


def test_a_sound_history_passes() -> None:
    """Nothing is said of what can have happened."""
    check(sound())


def _stale(history: History) -> None:
    history.sights.append(sight(5, {1: 11, 2: 20}, before=6))


def _torn(history: History) -> None:
    history.sights.append(sight(6, {1: 10, 2: 21}))


def _from_nowhere(history: History) -> None:
    history.sights.append(sight(9, {1: 12, 2: 21}))


def _lost_update(history: History) -> None:
    history.commit(8, wish(1, 14, 6))


def _write_skew(history: History) -> None:
    history.commit(8, wish(2, 24, 6, Reads(frozenset({("t", 1)}))))


def _phantom(history: History) -> None:
    history.commit(8, wish(3, 30, 6, Reads(frozenset(), frozenset({"t"}))))


def _gap(history: History) -> None:
    history.commit(9, wish(3, 30, None))


def _twice(history: History) -> None:
    history.commit(7, wish(3, 30, None))


def _too_early(history: History) -> None:
    late = Wish(before=8, snapshot=None, writes={("t", 3): 30})
    history.commits.append(Commit(8, late))


def _causeless(history: History) -> None:
    history.refusals.append(Refusal(wish(2, 22, 6), "it was changed", 7))


def _before_its_cause(history: History) -> None:
    history.refusals.append(Refusal(wish(1, 13, 6), "it was changed", 6))


def _another_neighbour(history: History) -> None:
    history.findings.append(replace(history.findings[0], lsn=7))


def _unwritten(history: History) -> None:
    history.sights.append(replace(sight(4, {2: 20}), keys=(2,), own={("t", 2): 22}))


DOCTORED: dict[Callable[[History], None], str] = {
    _stale: "a reading at LSN 5, after 6 was known",
    _torn: "at LSN 6 of t",
    _from_nowhere: "LSN 9, which there is not",
    _lost_update: r"\('t', 1\) changed at 7, after 6",
    _write_skew: r"\('t', 1\) changed at 7, after 6",
    _phantom: "t changed at 7, after 6",
    _gap: "expected each from 5",
    _twice: "expected each from 5",
    _too_early: "given after 8 was known",
    _causeless: "refused for no reason",
    _before_its_cause: "refused for no reason",
    _another_neighbour: "at LSN 7 of t",
    _unwritten: "at LSN 4 of t",
}


@pytest.mark.parametrize("doctor", DOCTORED, ids=lambda doctor: doctor.__name__.strip("_"))
def test_what_can_not_have_happened_is_found(doctor: Callable[[History], None]) -> None:
    """One entry that no order of commits explains is enough."""
    history = sound()
    doctor(history)
    with pytest.raises(Bad, match=DOCTORED[doctor]):
        check(history)


def test_a_ring_goes_through_every_row() -> None:
    """Two rings, a row too few, and a tail are no ring."""
    ring = {key: (key + 1) % KEYS for key in range(KEYS)}
    assert one_ring(ring)
    assert not one_ring({**ring, 3: 0})
    assert not one_ring({**ring, 3: 3})
    assert not one_ring({key: link for key, link in ring.items() if key})
