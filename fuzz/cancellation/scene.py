"""A scene: an open database in which a call is cancelled, and what must be so afterwards.

cut     turn 1, turn 2, ... turn n: cancelled        the turns of all tasks count
then    the rows are those before the call or those after it, and stay so
        nothing is held: no snapshot, connection, lock, worker, brake or build
        the next call works, and an index answers what measuring all rows answers
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio
from trio.testing import wait_all_tasks_blocked

from centroidb import Database, Index, Table
from centroidb.engine.actors.brake import Brake
from centroidb.engine.actors.state import State
from tests.support.leftovers import leftovers

from ..histories.attempt import EVERY, put, rows_in
from ..oracle import Bad
from ..steps import QUERY, cuts, vector

TABLE, INDEX = "t", "i"
ROWS = 40
BESIDE = 1_000
"""From here on keys are of the writer beside."""
K = 8
SWEPT_WITHIN_S = 5.0
HELD_ROWS_PER_S = 10.0
"""Of a writer at a brake."""


class Turns(trio.abc.Instrument):
    """Counts the turns of all tasks, and cancels a scope when they are over."""

    def __init__(self) -> None:
        self._scope: trio.CancelScope | None = None
        self._left = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:  # noqa: ARG002 - any task
        """One turn."""
        self._left -= 1
        if not self._left and self._scope is not None:
            self._scope.cancel()

    @contextmanager
    def cut(self, after: int) -> Iterator[trio.CancelScope]:
        """What is in here is cancelled after so many turns."""
        with trio.CancelScope() as scope:
            self._scope, self._left = scope, after
            if not after:
                scope.cancel()
            try:
                yield scope
            finally:
                self._scope = None


@dataclass
class Scene:
    """What a call finds, and what is known of it."""

    database: Database
    """The one that is called."""
    owner: Database
    """The one that writes: the same, or the one whose file it reads."""
    folder: Path
    turns: Turns
    rows: dict[int, int] = field(default_factory=dict)
    """Vector numbers by key, as they must be."""
    after: dict[int, int] | None = None
    """As they are once the call has been made, if it writes."""
    steps: list[dict[int, int]] = field(default_factory=list)
    """As they may be after each of its commits."""
    cut_after: int = 0
    """Turns."""
    in_time: bool = True
    """Whether the call was over before it was cancelled."""
    cut_off: bool = False
    """Whether it did not come to its end."""
    _number: int = 0
    _cutting: trio.Event = field(default_factory=trio.Event)
    """Set while a call goes on."""
    _over: trio.Event = field(default_factory=trio.Event)
    """Set when it has ended, until the next begins."""

    @contextmanager
    def cut(self) -> Iterator[None]:
        """What is in here is cancelled after `cut_after` turns."""
        self._over = trio.Event()
        self._cutting.set()
        with self.turns.cut(self.cut_after) as scope:
            yield
        self._cutting = trio.Event()
        self._over.set()
        self.in_time = not scope.cancel_called
        self.cut_off = scope.cancelled_caught

    async def fill(self) -> None:
        """A table with an index, and a build to go back to."""
        self.rows = {key: key for key in range(ROWS)}
        self._number = ROWS
        table = await self.database.create_table(TABLE, dim=len(vector(0)))
        await put(table, self.rows)
        index = await table.create_index(INDEX, nlist=3, parallel=1)
        await index.rebuild(nlist=2, parallel=1, keep_previous=1)

    async def write_beside(self) -> None:
        """Another task writes while a call goes on."""
        table = await self.owner.table(TABLE)
        while True:
            await self._cutting.wait()
            self._number += 1
            await put(table, {BESIDE + self._number % 5: self._number})

    async def search_beside(self) -> None:
        """Another task searches once while each call goes on, which must change no answer."""
        while True:
            await self._cutting.wait()
            await self._seen()
            await self._over.wait()

    async def table(self) -> Table:
        """The table."""
        return await self.database.table(TABLE)

    async def index(self) -> Index:
        """Its index."""
        return await self.database.index(INDEX)

    @asynccontextmanager
    async def braked(self) -> AsyncIterator[None]:
        """Whoever writes to the table has to wait a while."""
        supervisor = self.owner._source.supervisor()
        brake = Brake((await self.table())._id)
        brake.slow_to(HELD_ROWS_PER_S)
        await brake.wait(1)
        supervisor.state.brakes.add(brake)
        try:
            yield
        finally:
            brake.release()
            supervisor.state.brakes.discard(brake)

    def written(self, more: int = 0) -> dict[int, int]:
        """Rows that the call writes: some new, some again, with numbers of their own.

        more: so many others that are there, which makes several commits of it.
        """
        first, self._number = self._number, self._number + 3 + more
        rows = {1: first, 2: first + 1, ROWS + first % 7: first + 2}
        rows |= {3 + at: first + 3 + at for at in range(more)}
        self.steps = [{**self.rows, **dict(list(rows.items())[:end])} for end in cuts(len(rows))]
        self.after = self.steps[-1]
        return rows

    def deleted(self) -> list[int]:
        """Keys whose rows the call deletes, if they are there."""
        keys = [5, 6, ROWS + 1]
        self.after = {key: number for key, number in self.rows.items() if key not in keys}
        return keys

    async def judge(self) -> None:
        """Bad unless all is as it should be after the cut."""
        at_once = await self._seen()
        await wait_all_tasks_blocked()
        seen = await self._seen()
        if seen != at_once:
            raise Bad(f"rows came after the call had ended: {seen.keys() ^ at_once.keys()}")
        allowed = [self.rows] if self.after is None else [self.rows, *self.steps, self.after]
        if seen not in (allowed if self.cut_off else allowed[-1:]):
            raise Bad(f"the rows are neither those before nor those after: {seen}")
        self.rows, self.steps, self.after = seen, [], None
        with trio.move_on_after(SWEPT_WITHIN_S):
            while self.held():  # noqa: ASYNC110 - a sweep looks again in a moment
                await trio.sleep(0.001)
        if held := self.held():
            raise Bad(f"held afterwards: {', '.join(held)}")

    def held(self) -> list[str]:
        """What somebody still holds."""
        return held_by(self.owner._source.supervisor().state)

    async def tidy(self) -> None:
        """A build that rests now does not go on in the next call."""
        if any(
            each.unfinished for each in self.database._source.supervisor().state.indexes.values()
        ):
            await (await self.index()).abort_rebuild()

    async def finish(self) -> None:
        """Bad unless nothing is left of all those calls."""
        await self.database.vacuum()
        if left := await leftovers(self.database):
            raise Bad(f"left behind: {left[0]}")
        if errors := (await self.database.check()).errors:
            raise Bad(f"check: {errors[0]}")

    async def _seen(self) -> dict[int, int]:
        async with self.database.snapshot() as snapshot:
            rows = await rows_in(snapshot, TABLE)
            hits = await snapshot.search(TABLE, vector(QUERY), K, nprobe=EVERY, index=INDEX)
            exact = await snapshot.search(TABLE, vector(QUERY), K, exact=True)
        if (hits.ids, hits.distances.tobytes()) != (exact.ids, exact.distances.tobytes()):
            raise Bad(f"the index finds {hits.ids}, not {exact.ids}")
        return {key: number for key, number in rows.items() if key < BESIDE}


def held_by(state: State) -> list[str]:
    """What nobody should hold when no call is under way; a build that rests holds its snapshot."""
    rest = sum(index.unfinished is not None for index in state.indexes.values())
    found = {
        "snapshots": len(state.snapshots) - rest,
        "maintenance": state.maintenance.locked(),
        "compaction": state.compaction.locked(),
        "build workers": state.build_workers.borrowed_tokens,
        "builds": len(state.builds),
        "brakes": len(state.brakes),
        "pins of the log": len(state.log_pins),
        "readers": state.pool._running,
        "slots of readers": state.limits.readers - state.pool._slots.value,
        "the readers' gate": not state.pool._gate.is_set(),
    }
    for index in state.indexes.values():
        for generation in (index.active, *index.kept):
            if generation is not None:
                found[f"generation {generation.row.id}"] = generation.held
    return [what for what, number in found.items() if number]
