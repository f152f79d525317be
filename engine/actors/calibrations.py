"""Calibrations: for each generation the rules by which its searches keep to an accuracy.

    a search for an accuracy       asked          the task, one generation after the other
    there are no rules yet     -> [ g7 ]   ->     the file's rules, if they are for its centroids,
        it waits for them                         else a calibration, in a view of its own
    a tenth of the rows has    -> [ g9 ]   ->     a calibration; by a process that may not write,
        changed: it goes on                       the file's rules again, if they are newer

Rules are kept in memory and, by a process that may write, in the file with the generation.  Until
there are new ones, searches go by those there are: an accuracy is one for rows that are much as
they were when it was calibrated.

Nothing is found where a table has too few rows, and none where the index is damaged: then all
partitions are probed, and it is not tried again before rows have changed, or time has passed.  Nor
are rules renewed all the time, however much is written.
"""

import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from math import inf

import trio

from ...wal import calibrations
from ...wal.catalog import TableRow
from ...wal.errors import CentroiDBError, ClosedError
from ...wal.types import GenerationId, IndexId
from ..index.generation import Generation
from ..index.rules import Rules
from ..storage.calibrating import CAPTURED_MIN, calibrate
from ..storage.folding import Writer
from .capture import KEPT, Captured
from .view import View, Views

STALE = 0.1
"""Changed rows, as a share of all, after which rules are found anew."""
REST_S = 60.0
"""At least so long rules are left as they are."""
REST_RATIO = 20
"""And so many times as long as they took to find."""
FAILED_REST_S = 600.0
"""After a calibration that failed: the same damage would end it again."""
KEPT_MAX = 256
"""Generations whose rules are in memory."""

Key = tuple[GenerationId, int]
"""A generation, and the crc of its centroids: a reorganization changes these."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Finding:
    """What is known of a generation; replaced by the task only."""

    rules: Rules | None
    """None where there are too few rows, or it failed."""
    writes: int
    """Rows written to the table and ended, ever, when it was found."""
    failed: bool = False
    rests_until_s: float = -inf
    """By trio's clock."""

    def has_aged(self, table: TableRow, asked: int) -> bool:
        """Whether it is to be found anew; asked: how many captured queries there are now."""
        if trio.current_time() < self.rests_until_s:
            return False
        unheard = self.rules is not None and self.rules.captured < CAPTURED_MIN <= asked
        return self.failed or unheard or table.writes - self.writes > STALE * table.live


class Calibrations:
    """See the module. `run` is its task; `of` is called by others' tasks."""

    def __init__(
        self, views: Views, writer: Writer | None, captured: Mapping[IndexId, Captured]
    ) -> None:
        """Without a writer the file is not written: somebody else owns it.

        captured: queries that were asked, by index.
        """
        self._views = views
        self._writer = writer
        self._captured = captured
        self._known: dict[Key, Finding] = {}
        self._asked: dict[Key, trio.Event] = {}
        """Those that somebody wants rules for; set, and taken out, when it was tried. No more than
        there are generations that somebody holds."""
        self._send, self._receive = trio.open_memory_channel[None](1)
        """The inbox holds one nudge: who is asked for stands in `_asked`."""
        self._ended = False
        """Set by the task when it ends: nothing is found any more."""

    def __repr__(self) -> str:
        return f"<Calibrations of {len(self._known)} generations, {len(self._asked)} asked for>"

    async def of(self, table: TableRow, generation: Generation) -> Rules | None:
        """The rules of a generation; None where there are too few rows for them, or damage."""
        key = _key(generation)
        found = self._known.get(key)
        if self._is_due(found, table, generation):
            tried = self._ask(key)
            if found is None or found.rules is None:
                await tried.wait()
                found = self._known.get(key)
        return found.rules if found else None

    def consider(self, table: TableRow, generation: Generation) -> None:
        """Find rules before a search asks for them; never waits."""
        key = _key(generation)
        if self._is_due(self._known.get(key), table, generation):
            self._ask(key)

    def _is_due(self, found: Finding | None, table: TableRow, generation: Generation) -> bool:
        asked = len(self._captured.get(generation.row.index, ()))
        return found is None or found.has_aged(table, asked)

    def _ask(self, key: Key) -> trio.Event:
        tried = self._asked.setdefault(key, trio.Event())
        if self._ended:
            tried.set()
        with suppress(trio.WouldBlock):  # it will look anyway
            self._send.send_nowait(None)
        return tried

    async def run(self) -> None:
        """The task: until it is cancelled."""
        try:
            while True:
                await self._receive.receive()
                while self._asked:
                    key = next(iter(self._asked))
                    await self._try(key)
                    self._asked.pop(key).set()
        finally:
            self._ended = True
            for tried in self._asked.values():
                tried.set()

    async def _try(self, key: Key) -> None:
        """Find rules in the state of this moment."""
        try:
            view = await self._views.open_view()
            try:
                await self._find(view, key)
            finally:
                await self._views.close_view(view)
        except ClosedError:
            return
        except CentroiDBError as error:
            known = self._known.get(key)
            rules, writes = (known.rules, known.writes) if known else (None, 0)
            until_s = trio.current_time() + FAILED_REST_S
            self._remember(key, Finding(rules, writes, failed=True, rests_until_s=until_s))
            log.warning("generation %s is not calibrated: %s", key[0], error)

    async def _find(self, view: View, key: Key) -> None:
        generation = _generation_of(view, key)
        if generation is None:  # only older snapshots search it, and are few
            self._remember(key, Finding(None, 0, rests_until_s=inf))
            return
        table, known = view.table_with(generation.table), self._known.get(key)
        if not self._is_due(known, table, generation):
            return  # two have asked, one after the other
        if known is None or self._writer is None:
            stored = await self._stored(view, generation)
            if stored is not None and (known is None or stored.writes > known.writes):
                known = Finding(stored, stored.writes)
                self._remember(key, known)
        if self._is_due(known, table, generation):
            await self._calibrate(view, table, generation)

    async def _stored(self, view: View, generation: Generation) -> Rules | None:
        """What the file has for these centroids."""
        stored = await view.read(partial(calibrations.read, generation=generation.row.id))
        if stored is None:
            return None
        try:
            rules = Rules.from_bytes(stored)
        except ValueError as error:
            log.warning("generation %s is calibrated anew: %s", generation.row.id, error)
            return None
        return rules if rules.centroids_crc == generation.centroids_crc else None

    async def _calibrate(self, view: View, table: TableRow, generation: Generation) -> None:
        asked = self._captured.get(generation.row.index, Captured()).vectors(KEPT)
        started_s = trio.current_time()
        visibility = view.visibility(table)
        rules = await calibrate(view.read, table, visibility, generation, captured=asked)
        ended_s = trio.current_time()
        rest_s = max(REST_S if rules else 0.0, REST_RATIO * (ended_s - started_s))
        found = Finding(rules, table.writes, rests_until_s=ended_s + rest_s)
        self._remember(_key(generation), found)
        if rules is not None and self._writer is not None:
            await self._write(self._writer, generation.row.id, rules)

    async def _write(self, writer: Writer, generation: GenerationId, rules: Rules) -> None:
        """What can not be written is found anew after the next open."""
        try:
            await writer.write(
                partial(calibrations.put, generation=generation, data=rules.to_bytes())
            )
        except CentroiDBError as error:
            log.warning("the calibration of generation %s is not kept: %s", generation, error)

    def _remember(self, key: Key, found: Finding) -> None:
        self._known.pop(key, None)
        self._known[key] = found
        if len(self._known) > KEPT_MAX:
            del self._known[next(iter(self._known))]


def _key(generation: Generation) -> Key:
    return generation.row.id, generation.centroids_crc


def _generation_of(view: View, key: Key) -> Generation | None:
    """The generation that searches in the view would ask, if it is this one."""
    for pinned in view.indexes.values():
        if pinned.generation is not None and _key(pinned.generation) == key:
            return pinned.generation
    return None
