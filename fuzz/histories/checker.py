"""The checker: commits are replayed in the order of their LSNs, and every reading must agree.

The product says which LSN a commit has and which a snapshot, so no order has to be guessed:
one pass finds what needs a search where only answers are known.

    LSNs              each once, without a gap, above all that were known when the commit began
    readings          the state at their LSN; that is not below what was known when they began
    first committer   nothing a transaction wrote was changed between its snapshot and its commit
    serializable      nor anything it read
    refusals          only where one of these would not hold
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain

import numpy as np

from centroidb.engine.index.distance import distances

from ..oracle import Bad
from ..steps import vector, vectors
from .history import Commit, Finding, History, Item, Refusal, Rows, Sight, Wish


def check(history: History) -> None:
    """Bad unless all of a history can have happened, one commit after the other."""
    replay = Replay(history)
    for commit in history.commits:
        replay.judge_commit(commit)
    for refusal in history.refusals:
        replay.judge_refusal(refusal)
    for sight in history.sights:
        replay.judge_sight(sight)
    for finding in history.findings:
        replay.judge_finding(finding)


class Replay:
    """The states of a history, and when each item changed."""

    def __init__(self, history: History) -> None:
        commits = sorted(history.commits, key=lambda commit: commit.lsn)
        expected = list(range(history.first + 1, history.first + 1 + len(commits)))
        if [commit.lsn for commit in commits] != expected:
            raise Bad(f"LSNs {[c.lsn for c in commits]}: expected each from {history.first + 1}")
        self._first = history.first
        self._states: list[dict[Item, int]] = [dict(history.state)]
        self._changes: dict[Item | str, list[int]] = {}
        """The LSNs at which an item, or anything of a table, changed."""
        for commit in commits:
            self._states.append(self._after(commit))

    def _after(self, commit: Commit) -> dict[Item, int]:
        before = self._states[-1]
        state = overlaid(before, commit.wish.writes)
        changed = {item for item in commit.wish.writes if state.get(item) != before.get(item)}
        things: Iterable[Item | str] = chain(changed, {table for table, _ in changed})
        for each in things:
            self._changes.setdefault(each, []).append(commit.lsn)
        return state

    def judge_commit(self, commit: Commit) -> None:
        """Its place, and that nobody was before it."""
        wish = commit.wish
        if commit.lsn <= wish.before:
            raise Bad(f"LSN {commit.lsn} was given after {wish.before} was known")
        for thing, lsn in self._in_its_way(wish):
            if lsn < commit.lsn:
                raise Bad(f"LSN {commit.lsn}: {thing} changed at {lsn}, after {wish.snapshot}")

    def judge_refusal(self, refusal: Refusal) -> None:
        """That somebody was before it, whose commit was under way by then."""
        lsns = [lsn for _, lsn in self._in_its_way(refusal.wish)]
        if min(lsns, default=refusal.latest + 1) > refusal.latest:
            raise Bad(f"refused for no reason: {refusal.why}; changes came at {lsns}")

    def _in_its_way(self, wish: Wish) -> Iterator[tuple[Item | str, int]]:
        """What it relies on, and when that first changed after its snapshot."""
        if wish.snapshot is None:
            return
        relied: Iterable[Item | str] = wish.writes
        if wish.reads is not None:
            relied = chain(relied, wish.reads.items, wish.reads.tables)
        for thing in relied:
            lsns = self._changes.get(thing, [])
            at = bisect_right(lsns, wish.snapshot)
            if at < len(lsns):
                yield thing, lsns[at]

    def _state(self, lsn: int, before: int) -> Mapping[Item, int]:
        if not self._first <= lsn < self._first + len(self._states):
            raise Bad(f"a reading at LSN {lsn}, which there is not")
        if lsn < before:
            raise Bad(f"a reading at LSN {lsn}, after {before} was known")
        return self._states[lsn - self._first]

    def judge_sight(self, sight: Sight) -> None:
        """Rows as they were."""
        state = overlaid(self._state(sight.lsn, sight.before), sight.own)
        rows = rows_of(state, sight.table)
        if sight.keys is not None:
            rows = {key: rows[key] for key in sight.keys if key in rows}
        if rows != sight.rows:
            raise Bad(f"at LSN {sight.lsn} of {sight.table}: expected {rows}, got {sight.rows}")

    def judge_finding(self, finding: Finding) -> None:
        """The nearest of them, bit for bit."""
        state = overlaid(self._state(finding.lsn, finding.before), finding.own)
        keys, measured = nearest(rows_of(state, finding.table), finding.query, finding.k)
        if (keys, measured) != (finding.keys, finding.distances):
            raise Bad(f"at LSN {finding.lsn} of {finding.table}: expected {keys}, got {finding}")


def overlaid(state: Mapping[Item, int], writes: Mapping[Item, int | None]) -> dict[Item, int]:
    """The state with these writes on top; None is a row that is gone."""
    merged = {**state, **writes}
    return {item: number for item, number in merged.items() if number is not None}


def rows_of(state: Mapping[Item, int], table: str) -> Rows:
    """The rows of one table."""
    return {key: number for (name, key), number in state.items() if name == table}


def nearest(rows: Rows, query: int, k: int) -> tuple[tuple[int, ...], bytes]:
    """The keys and distances (float64, as bytes) of the k nearest; every row is measured."""
    keys, stored = list(rows), vectors(list(rows.values()))
    measured = distances("l2", vector(query), stored)
    order = np.argsort(measured, kind="stable")[:k]
    return tuple(keys[at] for at in order), measured[order].tobytes()
