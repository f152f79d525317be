"""Snapshots: which are held, how far back the past must be kept, and which are too old."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from centroidb.txn.errors import SnapshotTooOldError
from centroidb.txn.head import Heads
from centroidb.txn.snapshot import Snapshot, SnapshotRegistry
from centroidb.wal.types import Lsn


def at(lsn: int) -> Heads:
    """The state at an LSN, without tables."""
    return Heads(Lsn(lsn))


def test_the_horizon_is_the_oldest_held() -> None:
    """It is the oldest LSN held, whoever closes first, and the present when nobody holds one."""
    registry = SnapshotRegistry()
    first, second, third = (registry.open(at(lsn), 0.0) for lsn in (7, 8, 10))
    assert registry.horizon(Lsn(11)) == 7
    registry.close(second)
    assert registry.horizon(Lsn(11)) == 7
    registry.close(first)
    assert registry.horizon(Lsn(11)) == 10
    registry.close(third)

    assert registry.horizon(Lsn(11)) == 11
    assert len(registry) == 0


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 20)), max_size=40))
def test_the_horizon_is_the_minimum_of_a_list(steps: list[tuple[bool, int]]) -> None:
    """After any opens and closes the horizon is the minimum over those still open."""
    registry = SnapshotRegistry()
    held: list[Snapshot] = []
    for opens, number in steps:
        if opens or not held:
            held.append(registry.open(at(number), 0.0))
        else:
            registry.close(held.pop(number % len(held)))
        assert registry.horizon(Lsn(99)) == min((each.lsn for each in held), default=99)
        assert len(registry) == len(held)


def test_closing_twice_is_harmless() -> None:
    """A second close does not let another snapshot of the same state go."""
    registry = SnapshotRegistry()
    first, second = registry.open(at(5), 0.0), registry.open(at(5), 0.0)
    registry.close(first)
    registry.close(first)

    assert len(registry) == 1
    assert registry.horizon(Lsn(9)) == 5
    registry.close(second)


def test_old_snapshots_are_let_go() -> None:
    """Those opened before a time raise from then on and hold nothing back; the others stay."""
    registry = SnapshotRegistry()
    old, new = registry.open(at(5), 100.0), registry.open(at(8), 200.0)
    for snapshot in (old, new):
        snapshot.require_fresh()

    assert registry.expire(200.0) == [old]

    with pytest.raises(
        SnapshotTooOldError, match="the snapshot at LSN 5 outlived max_snapshot_age"
    ):
        old.require_fresh()
    new.require_fresh()
    assert registry.horizon(Lsn(9)) == 8
    assert registry.expire(200.0) == []


def test_an_expired_snapshot_can_be_closed() -> None:
    """Whoever held it closes it as always."""
    registry = SnapshotRegistry()
    old = registry.open(at(5), 0.0)
    registry.expire(1.0)

    registry.close(old)
    assert len(registry) == 0
