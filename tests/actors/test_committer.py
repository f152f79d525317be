"""The Committer's step: which turn comes next."""

from types import SimpleNamespace
from typing import Any

import pytest

from centroidb import Limits
from centroidb.engine.actors.committer import (
    Backfill,
    Checkpoint,
    Chore,
    Commit,
    Committer,
    RunChore,
    WantCheckpoint,
    WriteGroup,
)
from centroidb.txn.writes import CommitRequest

LIMITS = Limits(group_bytes=100, sqlite_wal_bytes=1_000)


class _File:
    """A file whose WAL has the size it is told."""

    def __init__(self) -> None:
        self.wal_bytes = 0

    def sqlite_wal_bytes(self) -> int:
        return self.wal_bytes


@pytest.fixture
def state() -> Any:
    """The part of the state that a step looks at."""
    return SimpleNamespace(
        file=_File(), limits=LIMITS, pool=SimpleNamespace(is_drained=False), deaths={}
    )


@pytest.fixture
def committer(state: Any) -> Committer:
    """A Committer nobody runs."""
    return Committer(state, lambda: None)


def _commit(nbytes: int = 10) -> Commit:
    return Commit(CommitRequest([], nbytes=nbytes))


def _chore() -> Chore:
    return Chore(lambda: lambda _: None, lambda _: None)


async def test_waiting_commits_become_one_group(committer: Committer) -> None:
    """All commits that wait are written together."""
    commits = [_commit() for _ in range(5)]
    for commit in commits:
        committer._take(commit)

    effect = committer.step()

    assert isinstance(effect, WriteGroup)
    assert effect.commits == commits
    assert committer.step() is None


async def test_a_group_is_bounded_in_bytes(committer: Committer) -> None:
    """A group ends with the commit that brings it to the limit."""
    for _ in range(5):
        committer._take(_commit(nbytes=60))

    sizes = []
    while isinstance(effect := committer.step(), WriteGroup):
        sizes.append(len(effect.commits))

    assert sizes == [2, 2, 1]


async def test_commits_go_before_chores(committer: Committer) -> None:
    """A chore without credit waits while a commit does."""
    committer._take(_chore())
    committer._take(_commit())

    assert isinstance(committer.step(), WriteGroup)
    assert isinstance(committer.step(), RunChore)


async def test_a_chore_with_credit_goes_before_commits(committer: Committer) -> None:
    """When commits have had four times a chore's time, the chore has its turn."""
    committer._take(_chore())
    committer._take(_commit())
    committer._chore_credit_s = 0.001

    assert isinstance(committer.step(), RunChore)
    assert isinstance(committer.step(), WriteGroup)


async def test_withdrawn_requests_are_skipped(committer: Committer) -> None:
    """Nothing is written for a caller that was cancelled while it waited."""
    commit, chore = _commit(), _chore()
    commit.promise.withdrawn = chore.promise.withdrawn = True
    committer._take(commit)
    committer._take(chore)

    assert committer.step() is None


async def test_a_grown_wal_is_copied_first(committer: Committer, state: Any) -> None:
    """When SQLite's WAL has reached the limit, the next turn copies it into the file."""
    committer._take(_commit())
    state.file.wal_bytes = LIMITS.sqlite_wal_bytes

    assert isinstance(committer.step(), Backfill)


async def test_commits_go_on_while_readers_drain(committer: Committer, state: Any) -> None:
    """Between the copy and the checkpoint commits have their turns, until no reader runs."""
    state.file.wal_bytes = LIMITS.sqlite_wal_bytes
    committer._draining = True
    for _ in range(2):
        committer._take(_commit())
        assert isinstance(committer.step(), WriteGroup)
    assert committer.step() is None

    state.pool.is_drained = True

    committer._take(_commit())
    assert isinstance(committer.step(), Checkpoint)


async def test_who_asks_for_a_checkpoint_gets_one(committer: Committer) -> None:
    """A request is a reason for a checkpoint, unless it was withdrawn."""
    withdrawn, wanted = WantCheckpoint(), WantCheckpoint()
    withdrawn.promise.withdrawn = True
    committer._take(withdrawn)
    assert committer.step() is None

    committer._take(wanted)
    assert isinstance(committer.step(), Backfill)


async def test_a_chore_is_not_left_behind_commits_that_were_withdrawn(
    committer: Committer,
) -> None:
    """Where every commit before it was withdrawn, the chore is next: nobody would wake it."""
    chore, withdrawn = _chore(), _commit()
    withdrawn.promise.withdrawn = True
    committer._take(chore)
    committer._take(withdrawn)

    effect = committer.step()

    assert isinstance(effect, RunChore)
    assert effect.chore is chore
