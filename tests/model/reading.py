"""Operations that read: now, and in the snapshots that are held."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from centroidb import Hits, NotFoundError, Snapshot
from centroidb.engine.index.distance import Metric

from .oracle import Found, TableState, Vector
from .vectors import vector
from .world import KINDS, Held, Question, World

ALL = 60_000
"""More partitions than any index has."""
HELD_MAX = 5


def found(hits: Hits) -> Found:
    """Keys and distances."""
    return hits.ids, hits.distances.tolist()


async def hold(world: World) -> Held:
    """Take a snapshot, and what it must see for as long as it is held."""
    stack = AsyncExitStack()
    snapshot = await stack.enter_async_context(world.db.snapshot())
    return Held(snapshot, world.states(), dict(world.indexes), stack)


async def ask(held: Held, question: Question, others: Sequence[int] = ()) -> None:
    """Ask a snapshot, alone or together with other query vectors, and judge each answer."""
    numbers = [question.number, *others]
    dim = KINDS[question.table].dim
    vectors = np.array([vector(dim, number) for number in numbers])
    if question.table not in held.tables or not _index_is_there(held, question):
        with pytest.raises(NotFoundError):
            await _search(held.snapshot, question, vectors)
        return
    probed, complete = _probed(held.snapshot, question)
    answers = await _search(held.snapshot, question, vectors if others else vectors[0])
    for number, hits in zip(numbers, answers if others else [answers], strict=True):
        each = replace(question, number=number)
        assert hits.partitions_probed == probed, "the index was passed over"
        assert held.answers.setdefault(each, found(hits)) == found(hits), "the answer has changed"
        judge(held.tables[question.table], _metric(held, question), each, hits, complete=complete)


async def _search(snapshot: Snapshot, question: Question, query: Vector) -> Any:
    return await snapshot.search(
        question.table,
        query,
        question.k,
        nprobe=question.nprobe,
        exact=question.exact,
        metric=question.metric,
        index=question.index,
    )


def _index_is_there(held: Held, question: Question) -> bool:
    if question.index is None:
        return True
    return held.indexes.get(question.index, (None,))[0] == question.table


def _metric(held: Held, question: Question) -> Metric:
    if question.index is not None:
        return held.indexes[question.index][1]
    return question.metric or KINDS[question.table].metric


def _probed(snapshot: Snapshot, question: Question) -> tuple[int, bool]:
    """How many partitions the search must look at, and whether these are all."""
    view = snapshot.view
    table = view.table(question.table)
    assert table is not None
    if question.index is not None:
        pinned = next(each for each in view.indexes.values() if each.row.name == question.index)
        chosen = pinned if view.serves(pinned) else None
    else:
        metric = question.metric or KINDS[question.table].metric
        chosen = view.choose_index(table.id, metric)
    if question.exact or chosen is None or chosen.generation is None:
        return 0, True
    nlist = chosen.generation.row.nlist
    wanted = question.nprobe or max(8, -(-nlist // 10))
    return min(nlist, wanted), wanted >= nlist


def judge(
    state: TableState, metric: Metric, question: Question, hits: Hits, *, complete: bool
) -> None:
    """All partitions: what brute force finds. Some: rows of this state, rightly measured."""
    query = vector(state.kind.dim, question.number)
    keys, measured = found(hits)
    if complete:
        assert (keys, measured) == state.nearest(metric, query, question.k)
    assert len(set(keys)) == len(keys) <= question.k
    assert measured == state.measured(metric, query, keys)
    orders = [state.rows[key].order for key in keys]
    assert sorted(zip(measured, orders, strict=True)) == list(zip(measured, orders, strict=True))
    assert hits.payloads == [state.rows[key].payload for key in keys]


@dataclass(frozen=True)
class Hold:
    """Take a snapshot and keep it."""

    async def run(self, world: World) -> None:
        """The oldest is let go when there are too many."""
        held = await hold(world)
        world.held.append(held)
        world.closers.append(held.stack)
        if len(world.held) > HELD_MAX:
            await LetGo(0).run(world)


@dataclass(frozen=True)
class LetGo:
    """Close a snapshot."""

    which: int

    async def run(self, world: World) -> None:
        """Any of those that are held."""
        if world.held:
            held = world.held.pop(self.which % len(world.held))
            world.closers.remove(held.stack)
            await held.stack.aclose()


@dataclass(frozen=True)
class Ask:
    """Search, in a snapshot that is held, and in one of this moment."""

    question: Question
    others: Sequence[int]
    which: int

    async def run(self, world: World) -> None:
        """The answers are those of the states they are asked of."""
        now = await hold(world)
        try:
            await ask(now, self.question)
            await ask(now, self.question, self.others)
        finally:
            await now.stack.aclose()
        if world.held:
            held = world.held[self.which % len(world.held)]
            await ask(held, self.question, self.others)
            await ask(held, self.question)


@dataclass(frozen=True)
class AskAgain:
    """Put to every snapshot all questions it was asked before, and look at all its rows."""

    async def run(self, world: World) -> None:
        """Nothing has changed."""
        for held in world.held:
            for question in list(held.answers):
                await ask(held, question)
            await compare(held)


@dataclass(frozen=True)
class Compare:
    """Look at every row there is now."""

    async def run(self, world: World) -> None:
        """Tables, rows and counts are the model's."""
        now = await hold(world)
        try:
            await compare(now)
        finally:
            await now.stack.aclose()


async def compare(held: Held) -> None:
    """Count, get and iterate see the rows of the model, with their vectors and payloads."""
    for name in KINDS:
        state = held.tables.get(name)
        if state is None:
            with pytest.raises(NotFoundError):
                await held.snapshot.count(name)
        else:
            await _compare_table(held.snapshot, state)


async def _compare_table(snapshot: Snapshot, state: TableState) -> None:
    name, keys = state.kind.name, state.keys_in_order()
    assert await snapshot.count(name) == len(keys)
    rows = [row async for row in snapshot.iterate(name, vectors=True)]
    assert [row.id for row in rows] == keys
    absent = -1 if state.kind.key_type == "int" else "nobody"
    *got, missing = await snapshot.get(name, [*keys, absent], vectors=True)
    assert missing is None
    for row in [*rows, *got]:
        version = state.rows[row.id]
        assert row.payload == version.payload
        assert row.vector is not None
        assert row.vector.tobytes() == version.vector.tobytes()


async def compare_now(world: World) -> None:
    """Everything now, and the same questions put to tables and not to a snapshot."""
    await Compare().run(world)
    for name, model in world.tables.items():
        table = await world.table(name)
        query = vector(model.kind.dim, 1)
        expected = model.state().nearest(model.kind.metric, query, 7)
        assert found(await table.search(query, 7, nprobe=ALL)) == expected
        assert found(await table.search(query, 7, exact=True)) == expected
        assert await table.count() == len(model.rows)
