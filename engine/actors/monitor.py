"""The Monitor: watches how healthy each index is, and says, or does, what follows.

    nudge           an index without a generation whose table has rows enough is built
    every PERIOD_S  each index:   sample, if much has changed   -> recall, cost
                                  decide (`index.policy`)       -> the log of decisions
                                  act, if it may                -> rebuild or reorganize
                                  has rules found, if it has a target (`calibrations`)

What is done about a decision is the index's `auto_rebuild`: "off", nothing, and nothing is
written; "advise", it is written down; "on", it is carried out, here, one index after the
other. After an action there is a quiet time, a longer one when it did not succeed; and no
action while a job runs on the index, or one that was cut short waits for somebody.
"""

import logging
import sqlite3
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from typing import cast

import trio

from ...wal import catalog, decisions
from ...wal.decisions import DecisionRow
from ...wal.errors import CentroiDBError, RetryError
from ...wal.types import GenerationId, IndexId
from ..index.generation import Generation
from ..index.health import Measured
from ..index.policy import CHANGED_MIN, NOTHING, Action, Decision, Figures, decide
from ..storage.folding import Writer
from ..storage.indexes import IndexState
from .calibrations import Calibrations
from .capture import save_captured
from .errors import JobCancelled
from .health import health
from .sampling import sample
from .state import State
from .view import PinnedIndex

log = logging.getLogger(__name__)

PERIOD_S = 60.0
SAMPLE_EVERY_S = 300.0
"""A sample reads the whole table once: so often at most, but for a new generation."""
QUIET_S = 600.0
"""After an action, until what it did shows in the figures."""
FAILED_QUIET_S = 6 * 3_600.0
"""After an action that was rejected or failed: the same rows would give the same end."""

Act = Callable[[IndexState], Awaitable[object]]


@dataclass(eq=False)
class Watch:
    """What the Monitor remembers of one index; its own."""

    decision: Decision
    quiet_until_s: float = -inf
    """No action before, by trio's clock."""
    reorganized: bool = False
    """Whether a reorganization was made for this decision already."""
    sample_after_s: float = -inf
    sampled_writes: int = 0
    """`writes_to` its table at the last sample."""
    sampled_generation: GenerationId | None = None
    """The one that was sampled last, or was to be: a sample may fail."""


class Monitor:
    """See the module. `run` is its task; which index to train is decided in `step`."""

    def __init__(
        self,
        state: State,
        writer: Writer,
        calibrations: Calibrations,
        *,
        build: Act,
        rebuild: Act,
        reorganize: Act,
    ) -> None:
        self._state = state
        self._writer = writer
        self._calibrations = calibrations
        self._build = build
        self._rebuild = rebuild
        self._reorganize = reorganize
        self._watches: dict[IndexId, Watch] = {}
        self._build_after_s: dict[IndexId, float] = {}
        """When an index whose first build it began, or somebody ended, may be trained again."""
        self._send, self._receive = trio.open_memory_channel[None](1)
        """The inbox holds one nudge: what there is to see stands in the state."""

    def __repr__(self) -> str:
        return f"<Monitor of {len(self._state.indexes)} indexes>"

    def wake(self) -> None:
        """Look soon for indexes to train; never waits."""
        with suppress(trio.WouldBlock):
            self._send.send_nowait(None)

    async def run(self) -> None:
        """The task: until it is cancelled."""
        look_at_s = trio.current_time() + PERIOD_S
        while True:
            with trio.move_on_at(look_at_s):
                await self._receive.receive()
            for index in self.step():
                if self.wants_build(index):  # the one before took its time
                    await self._guarded(self._train, index)
            if trio.current_time() >= look_at_s:
                await self.look()
                look_at_s = trio.current_time() + PERIOD_S

    def step(self) -> list[IndexState]:
        """The indexes that have no generation and rows enough for one."""
        return [index for index in self._state.indexes.values() if self.wants_build(index)]

    def wants_build(self, index: IndexState) -> bool:
        """Whether an index is untrained although its table has rows enough."""
        busy = index.building or index.reserved or self._is_left_alone(index)
        if index.active is not None or busy or self._state.failed is not None:
            return False
        return self.has_rows_enough(index)

    def _is_left_alone(self, index: IndexState) -> bool:
        """Whether its first build failed not long ago, was ended, or waits for somebody."""
        if trio.current_time() < self._build_after_s.get(index.row.id, -inf):
            return True
        return index.unfinished is not None and index.row.id not in self._build_after_s

    def leave_alone(self, index: IndexState) -> None:
        """Somebody ended a build of it: it is not trained by itself until the next open."""
        self._build_after_s[index.row.id] = inf

    async def _train(self, index: IndexState) -> None:
        """The first build of an index; after one that failed there is a quiet time."""
        self._build_after_s[index.row.id] = trio.current_time() + QUIET_S
        await self._build(index)
        del self._build_after_s[index.row.id]

    def has_rows_enough(self, index: IndexState) -> bool:
        """Whether there are rows enough to train the index on."""
        table = self._state.heads.tables.get(index.row.table)
        needed = index.parameters.rows_to_train(self._state.limits.train_rows)
        return table is not None and table.live >= needed

    async def look(self) -> None:
        """Look at every index once."""
        known = self._state.indexes
        self._watches = {each: watch for each, watch in self._watches.items() if each in known}
        for index in list(known.values()):
            if not self._state.closing:
                await self._guarded(self._look_at, index)
                self._calibrate(index)
                await self._guarded(self._save_captured, index)

    async def _guarded(self, act: Act, index: IndexState) -> None:
        """An index dropped or built meanwhile is no fault; a failed disk stops the database."""
        try:
            await act(index)
        except CentroiDBError as error:
            if self._state.failed is not None:
                raise
            if not self._state.closing:
                log.warning("watching index %s: %s", index.row.name, error)

    def _calibrate(self, index: IndexState) -> None:
        """Have rules found for an index whose searches keep to an accuracy by default."""
        table = self._state.heads.tables.get(index.row.table)
        if index.parameters.target_accuracy and index.active is not None and table is not None:
            self._calibrations.consider(table, index.active)

    async def _save_captured(self, index: IndexState) -> None:
        slice_bytes = self._state.limits.slice_bytes
        await save_captured(
            self._writer, self._state.captured, index.row.id, slice_bytes=slice_bytes
        )

    async def _look_at(self, index: IndexState) -> None:
        watch = await self._watch(index)
        if self._wants_sample(index, watch):
            await self._sample(index, watch)
        decision = self.decide(index, watch.decision)
        if decision is None:
            return
        if decision != watch.decision:
            watch.decision, watch.reorganized = decision, False
            await self._write(index, decision)
        if self._may_act(index, watch):
            await self._act(index, watch)

    async def _watch(self, index: IndexState) -> Watch:
        """What is remembered of the index; at first, the last decision in the file."""
        known = self._watches.get(index.row.id)
        if known is None:
            stored = await self._state.pool.read(partial(decisions.last, index=index.row.id))
            known = self._watches[index.row.id] = Watch(_decision(stored))
        return known

    def decide(self, index: IndexState, previous: Decision) -> Decision | None:
        """What the figures of this moment call for; None where nothing is to be decided."""
        figures = self._figures(index)
        if figures is None or index.building or index.parameters.auto_rebuild == "off":
            return None
        return decide(figures, previous)

    def _figures(self, index: IndexState) -> Figures | None:
        """The figures of an index; None when it was dropped, or has no generation."""
        state, table = self._state, self._state.heads.tables.get(index.row.table)
        if table is None or index.row.id not in state.indexes or index.active is None:
            return None
        pinned = PinnedIndex.of(index)
        return health(table, state.deaths[table.id], pinned, building=index.building).figures

    def _may_act(self, index: IndexState, watch: Watch) -> bool:
        wanted = watch.decision.action != "none" and index.parameters.auto_rebuild == "on"
        free = not index.building and index.unfinished is None and not self._state.closing
        return wanted and free and trio.current_time() >= watch.quiet_until_s

    async def _act(self, index: IndexState, watch: Watch) -> None:
        """Carry out what was decided; how it ended is logged and written down.

        Where a reorganization has left the reasons for it, a rebuild follows.
        """
        decision, act = watch.decision, self._rebuild
        if decision.action == "reorganize" and not watch.reorganized:
            act, watch.reorganized = self._reorganize, True
        else:
            decision = replace(decision, action="rebuild")
        outcome, quiet_s = "done", QUIET_S
        try:
            await act(index)
        except CentroiDBError as error:
            if self._state.failed is not None or self._state.closing:
                raise
            outcome = f"{type(error).__name__}: {error}"
            soon = isinstance(error, RetryError) and not isinstance(error, JobCancelled)
            quiet_s = QUIET_S if soon else FAILED_QUIET_S
        watch.quiet_until_s = trio.current_time() + quiet_s
        index.measured = None  # it is another index now
        level = logging.INFO if outcome == "done" else logging.WARNING
        why = "; ".join(decision.reasons)
        log.log(level, "%s of index %s (%s): %s", decision.action, index.row.name, why, outcome)
        await self._write(index, decision, outcome)
        if self._wants_sample(index, watch):  # at once: later much may have changed since the build
            await self._sample(index, watch)

    async def _write(
        self, index: IndexState, decision: Decision, outcome: str | None = None
    ) -> None:
        def start() -> Callable[[sqlite3.Connection], None]:
            if index.row.id not in self._state.indexes:  # else its log would outlive it
                return lambda _: None
            return partial(
                decisions.append,
                index=index.row.id,
                time_ns=time.time_ns(),
                action=decision.action,
                reasons={
                    "auto": index.parameters.auto_rebuild,
                    "reasons": decision.reasons,
                    "rules": decision.rules,
                    "outcome": outcome,
                },
            )

        await self._writer.do(start, lambda _: None)

    def _writes_to(self, index: IndexState) -> int:
        """Rows that were ever written to the table, and ended; 0 when it was dropped."""
        table = self._state.heads.tables.get(index.row.table)
        return table.writes if table else 0

    def _wants_sample(self, index: IndexState, watch: Watch) -> bool:
        """Once for each generation, and when the table has changed enough since the last time."""
        table = self._state.heads.tables.get(index.row.table)
        few = table is None or table.live < self._state.limits.gate_rows
        if few or index.active is None or index.building:
            return False
        if watch.sampled_generation != index.active.row.id:
            return True
        if index.measured is None:  # the last try failed
            return trio.current_time() >= watch.sample_after_s
        assert table is not None
        changed = self._writes_to(index) - watch.sampled_writes
        return changed > CHANGED_MIN * table.live and trio.current_time() >= watch.sample_after_s

    async def _sample(self, index: IndexState, watch: Watch) -> None:
        watch.sample_after_s = trio.current_time() + SAMPLE_EVERY_S
        watch.sampled_writes = self._writes_to(index)
        watch.sampled_generation = index.active.row.id if index.active else None
        measured = await sample(self._state, index.row.id)
        if measured is not None:
            index.measured = measured
            await self._remember_cost(index, measured)

    async def _remember_cost(self, index: IndexState, measured: Measured) -> None:
        """The first sample after a build says what a search costs as built.

        Under `maintenance`, since a fold writes back the row that it began with.
        """
        async with self._state.maintenance:
            generation, figures = index.active, self._figures(index)
            if generation is None or generation.row.id != measured.generation or not figures:
                return
            if not generation.row.cost_at_build and figures.changed < CHANGED_MIN:
                cost = measured.cost
                work = partial(
                    catalog.update_generation, generation=generation.row.id, cost_at_build=cost
                )
                await self._writer.do(lambda: work, lambda _: _set_cost(generation, cost))


def _set_cost(generation: Generation, cost: float) -> None:
    generation.row = replace(generation.row, cost_at_build=cost)


def _decision(stored: DecisionRow | None) -> Decision:
    """What was decided last, as far as the file knows it."""
    if stored is None:
        return NOTHING
    action = cast("Action", stored.action)
    reasons, rules = stored.reasons.get("reasons", ()), stored.reasons.get("rules", ())
    return Decision(action, tuple(reasons), tuple(rules))
