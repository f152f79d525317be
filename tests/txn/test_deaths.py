"""Which row versions a snapshot sees: the arrays against a dict."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from centroidb.txn.deaths import ALIVE, Deaths, Visibility
from centroidb.wal.types import Lsn, Vid

Commit = tuple[int, list[int]]
"""How many rows it adds, and which of those there were (by position) it ends."""

commits = st.lists(
    st.tuples(st.integers(0, 5), st.lists(st.integers(0, 40), max_size=5)), max_size=25
)


@dataclass
class Model:
    """Births and deaths of versions, as a dict has them."""

    deaths: Deaths = field(default_factory=lambda: Deaths(Vid(1)))
    high: int = 1
    lsn: int = 0
    ends: dict[int, int] = field(default_factory=dict)
    states: list[tuple[int, int, set[int]]] = field(default_factory=lambda: [(0, 1, set())])
    """(lsn, high, the versions seen) after each commit."""

    def commit(self, born: int, positions: list[int]) -> None:
        """Apply one commit to both."""
        self.lsn += 1
        alive = [vid for vid in range(1, self.high) if vid not in self.ends]
        ended = sorted({alive[at % len(alive)] for at in positions}) if alive else []
        self.high += born
        self.deaths.reserve(Vid(self.high))
        self.deaths.record(np.array(ended, np.int64), Lsn(self.lsn))
        self.ends.update(dict.fromkeys(ended, self.lsn))
        seen = {vid for vid in range(1, self.high) if vid not in self.ends}
        self.states.append((self.lsn, self.high, seen))


def played(history: list[Commit]) -> Model:
    """A model that has gone through `history`."""
    model = Model()
    for born, positions in history:
        model.commit(born, positions)
    return model


def seen(visibility: Visibility, vids: list[int]) -> set[int]:
    """Those of `vids` that are visible."""
    array = np.array(vids, np.int64)
    mask = visibility(array)
    return set(array.tolist() if mask is None else array[mask].tolist())


@given(commits, st.randoms(use_true_random=False))
def test_every_snapshot_sees_its_own_state(history: list[Commit], random: object) -> None:
    """At every LSN the visible versions are those of the dict, asked in any order, later too."""
    model = played(history)
    vids = list(range(1, model.high))
    random.shuffle(vids)  # type: ignore[attr-defined]  # a random.Random

    for lsn, high, expected in model.states:
        visibility = Visibility(Vid(high), Lsn(lsn), model.deaths.ends)
        assert seen(visibility, vids) == expected


@given(commits, commits)
def test_a_snapshots_array_stays_good(before: list[Commit], after: list[Commit]) -> None:
    """A snapshot that keeps the array it began with sees the same whatever is committed later."""
    model = played(before)
    lsn, high, expected = model.states[-1]
    visibility = Visibility(Vid(high), Lsn(lsn), model.deaths.ends)
    for born, positions in after:
        model.commit(200 * born, positions)  # so that the array has to grow

    assert seen(visibility, list(range(1, model.high))) == expected


@given(commits)
def test_loading_gives_what_was_recorded(history: list[Commit]) -> None:
    """Deaths read from the file, in any order, answer as those recorded did."""
    model = played(history)
    items = sorted(model.ends.items(), key=lambda item: -item[0])
    loaded = Deaths(Vid(model.high))
    loaded.load(
        np.array([vid for vid, _ in items], np.int64), np.array([lsn for _, lsn in items], np.int64)
    )

    assert loaded.ends[: model.high].tolist() == model.deaths.ends[: model.high].tolist()
    for lsn in range(model.lsn + 1):
        stored = loaded.stored_until(Lsn(lsn)).tolist()
        assert stored == model.deaths.stored_until(Lsn(lsn)).tolist()
        assert stored == sorted(vid for vid, end in model.ends.items() if end <= lsn)


@given(commits, st.integers(0, 30))
def test_forgetting_takes_what_was_purged(history: list[Commit], horizon: int) -> None:
    """After a purge only later deaths are stored; what is purged stays ended in this process."""
    model = played(history)
    before = model.deaths.ends.copy()
    model.deaths.forget_until(Lsn(horizon))

    left = sorted(vid for vid, end in model.ends.items() if end > horizon)
    assert model.deaths.stored_until(Lsn(model.lsn)).tolist() == left
    assert model.deaths.count_stored == len(left)
    assert np.array_equal(model.deaths.ends, before)


def test_all_visible_is_none() -> None:
    """No mask is made when nothing is hidden, or nothing is asked."""
    deaths = Deaths(Vid(10))
    visibility = Visibility(Vid(10), Lsn(5), deaths.ends)

    assert visibility(np.arange(1, 10)) is None
    assert visibility(np.empty(0, np.int64)) is None


def test_versions_beyond_the_array_are_not_born() -> None:
    """Vids far beyond what the snapshot's array holds are invisible, not an error."""
    visibility = Visibility(Vid(3), Lsn(5), Deaths(Vid(3)).ends)

    assert seen(visibility, [1, 2, 3, 10**6]) == {1, 2}


def test_a_death_at_the_snapshots_lsn_is_seen() -> None:
    """A version that ended at LSN 9 is visible at 8 and gone at 9."""
    deaths = Deaths(Vid(3))
    deaths.record(np.array([1]), Lsn(9))

    assert seen(Visibility(Vid(3), Lsn(8), deaths.ends), [1, 2]) == {1, 2}
    assert seen(Visibility(Vid(3), Lsn(9), deaths.ends), [1, 2]) == {2}


def test_excluded_versions_are_hidden() -> None:
    """A transaction hides the versions it has written over, and only those."""
    deaths = Deaths(Vid(9))
    deaths.record(np.array([2]), Lsn(1))
    visibility = Visibility(Vid(9), Lsn(5), deaths.ends).excluding(np.array([3, 4]))

    assert seen(visibility, list(range(1, 9))) == {1, 5, 6, 7, 8}


def test_only_equal_visibilities_may_share_a_batch() -> None:
    """Two snapshots of one state share a batch key; one that excludes rows has its own."""
    ends = Deaths(Vid(9)).ends
    first, same = Visibility(Vid(9), Lsn(5), ends), Visibility(Vid(9), Lsn(5), ends)
    others = [
        Visibility(Vid(8), Lsn(5), ends),
        Visibility(Vid(9), Lsn(6), ends),
        first.excluding(np.array([1])),
        first.excluding(np.array([2])),
    ]

    assert first.batch_key() == same.batch_key()
    assert len({first.batch_key(), *(other.batch_key() for other in others)}) == 5


@pytest.mark.parametrize("high", [1, 1_024, 1_025, 5_000])
def test_reserving_keeps_what_is_recorded(high: int) -> None:
    """Growing keeps the deaths there are, and everything new is alive."""
    deaths = Deaths(Vid(1))
    deaths.reserve(Vid(700))
    deaths.record(np.array([1, 699]), Lsn(4))

    deaths.reserve(Vid(high))

    assert len(deaths.ends) >= high
    assert np.flatnonzero(deaths.ends != ALIVE).tolist() == [1, 699]


def test_what_is_being_purged_may_not_be_listed() -> None:
    """Once a purge up to LSN 5 has begun, only versions that ended later, or live, are listable."""
    deaths = Deaths(Vid(9))
    deaths.record(np.array([1]), Lsn(4))
    deaths.record(np.array([2]), Lsn(5))
    deaths.record(np.array([3]), Lsn(6))
    assert deaths.listable(np.array([1, 2, 3, 4])).tolist() == [True] * 4

    deaths.purged_until = Lsn(5)

    assert deaths.listable(np.array([1, 2, 3, 4])).tolist() == [False, False, True, True]
