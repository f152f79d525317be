"""A rollback: the generation that was replaced last takes over again.

    vid    1 ........ known_until .......... now
           |  kept generation  |  catch-up: rows that came since
    lsn                        S  catch-up goes on from rows | verify | swap

A kept generation holds no log: the rows it misses are in the table, and those that
ended are in the deaths, as for every generation. The proof before the swap is that of
a rebuild. The generation that was active is kept in turn, so a second rollback undoes
the first. Cut short, a rollback has changed nothing: what it folded stays in the kept
generation, where the next one finds it.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from ....txn.head import Heads
from ....txn.snapshot import Snapshot
from ....wal.errors import NotFoundError
from ...index.generation import Generation
from ...index.parameters import IndexParameters
from ...storage.indexes import IndexState
from ..committer import Committer
from ..errors import JobCancelled
from ..state import State
from .budget import plan_for
from .catch_up import CatchUp, Position
from .effort import Effort, Pace
from .outcome import Outcome
from .record import JobRecord
from .takeover import Takeover


class Rollback:
    """See the module; to be run as the one job on the index."""

    def __init__(
        self, state: State, committer: Committer, index: IndexState, effort: Effort
    ) -> None:
        self._state = state
        self._committer = committer
        self._index = index
        self._effort = effort
        self._pace = Pace(effort.throttle, state.build_workers)
        self._record = JobRecord(committer, index.row.id, "rollback", effort)
        self._takeover: Takeover | None = None

    async def run(self) -> Outcome:
        """Swap the newest kept generation in. NotFoundError when none is kept."""
        name = self._index.row.name
        if not self._index.kept:
            raise NotFoundError(
                f"index {name!r}: no generation is kept; a rebuild with keep_previous keeps one"
            )
        generation = self._index.kept[-1]
        self._record.generation = generation.row.id
        await self._record.begin()
        try:
            with self._log_held():
                return await self._take_over(generation)
        except BaseException as error:
            if self._takeover is None or not self._takeover.swapped:
                await self._record.end(error)
            raise

    @contextmanager
    def _log_held(self) -> Iterator[Snapshot]:
        """What is committed from now on stays in the log, and what ends from now on in the file."""
        snapshot = self._state.snapshots.open(self._state.heads, math.inf)
        self._state.log_pins.add(snapshot)
        try:
            yield snapshot
        finally:
            self._state.log_pins.discard(snapshot)
            self._state.snapshots.close(snapshot)

    async def _take_over(self, generation: Generation) -> Outcome:
        position, parameters = self._position(generation), self._parameters(generation)
        catch_up = CatchUp(
            self._state,
            self._committer,
            generation,
            position,
            self._record.report_lag,
            plan=plan_for(
                position.table,
                position.table.live,
                parameters,
                self._state.limits,
                parallel=self._effort.parallel,
            ),
            pace=self._pace,
            from_log=False,
        )
        await catch_up.file_batches()
        self._takeover = Takeover(
            self._state, self._committer, self._index, generation, catch_up, self._record
        )
        return await self._takeover.run(parameters)

    def _position(self, generation: Generation) -> Position:
        table = self._state.heads.tables.get(self._index.row.table)
        if table is None:
            raise JobCancelled(f"the table of index {self._index.row.name!r} was dropped")
        heads = Heads(generation.row.fold_lsn)
        return Position(heads, replace(table, next_vid=generation.known_until))

    def _parameters(self, generation: Generation) -> IndexParameters:
        """Those of the generation; how the index is kept and watched stays as it is."""
        now = self._index.parameters
        return replace(
            IndexParameters.from_json(generation.row.parameters),
            keep_previous=now.keep_previous,
            keep_previous_s=now.keep_previous_s,
            auto_rebuild=now.auto_rebuild,
        )
