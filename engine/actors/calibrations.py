"""Calibrations: for each generation the rules by which its searches keep to an accuracy.

    first search for an accuracy    the file's rules, or calibrate now; others wait for the same
    later ones                      the rules in memory
    a tenth of the rows changed,    the Monitor calibrates anew, searches go on meanwhile
    or queries were captured

Rules are kept in the file, with the generation, by a process that may write.  Until there are new
ones, searches go by those there are: an accuracy is one for rows that are much as they were when
it was calibrated.
"""

import logging
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import trio
from numpy.typing import NDArray

from ...wal import calibrations
from ...wal.catalog import TableRow
from ...wal.errors import CentroiDBError
from ...wal.types import GenerationId, IndexId
from ..index.generation import Generation
from ..index.rules import Rules
from ..storage.calibrating import CAPTURED_MIN, calibrate
from ..storage.folding import Writer
from .capture import KEPT, Captured
from .view import View

STALE = 0.1
"""Changed rows, as a share of all, after which rules are found anew."""
KEPT_MAX = 256
"""Generations whose rules are in memory."""

log = logging.getLogger(__name__)


class Calibrations:
    """See the module. Used on the event loop only."""

    def __init__(
        self,
        writer: Writer | None,
        captured: Mapping[IndexId, Captured],
        aged: Callable[[], None],
    ) -> None:
        """Without a writer the file is not written: somebody else owns it.

        captured: queries that were asked, by index; aged: called when a search has met rules
        that are to be renewed.
        """
        self._writer = writer
        self._captured = captured
        self._aged = aged
        self._known: dict[GenerationId, Rules] = {}
        self._turn = trio.Lock()
        """Held while rules are found: one calibration at a time, and each once."""

    def __repr__(self) -> str:
        return f"<Calibrations of {len(self._known)} generations>"

    async def of(self, view: View, table: TableRow, generation: Generation) -> Rules | None:
        """The rules of a generation in the view; None where it has too few rows for them."""
        known = self._fitting(generation)
        if known is not None:
            if self.wants_renewal(table, generation, wanted=False):
                self._aged()
            return known
        async with self._turn:
            known = self._fitting(generation)
            return known or await self._found(view, table, generation)

    def wants_renewal(self, table: TableRow, generation: Generation, *, wanted: bool) -> bool:
        """Whether rules are missing although they are wanted, or their rows have changed since."""
        known = self._fitting(generation)
        if known is None:
            return wanted
        asked = len(self._captured.get(generation.row.index, ()))
        unheard = known.captured < CAPTURED_MIN <= asked
        return unheard or table.writes - known.writes > STALE * table.live

    def _queries(self, generation: Generation) -> NDArray[np.float32]:
        """The captured queries of its index, float32 (n, d)."""
        return self._captured.get(generation.row.index, Captured()).vectors(KEPT)

    async def renew(self, view: View, table: TableRow, generation: Generation) -> None:
        """Find the rules of a generation anew."""
        async with self._turn:
            await self._calibrated(view, table, generation)

    def _fitting(self, generation: Generation) -> Rules | None:
        """The known rules; not those of so many partitions as there were before."""
        known = self._known.get(generation.row.id)
        return known if known and known.nlist == generation.row.nlist else None

    async def _found(self, view: View, table: TableRow, generation: Generation) -> Rules | None:
        stored = await view.read(lambda c: calibrations.read(c, generation.row.id))
        if stored is not None:
            try:
                self._remember(generation.row.id, Rules.from_bytes(stored))
            except ValueError as error:
                log.warning("generation %s is calibrated anew: %s", generation.row.id, error)
        return self._fitting(generation) or await self._calibrated(view, table, generation)

    async def _calibrated(
        self, view: View, table: TableRow, generation: Generation
    ) -> Rules | None:
        visibility = view.visibility(table)
        asked = self._queries(generation)
        rules = await calibrate(view.read, table, visibility, generation, captured=asked)
        if rules is not None:
            self._remember(generation.row.id, rules)
            await self._write(generation.row.id, rules)
        return rules

    async def _write(self, generation: GenerationId, rules: Rules) -> None:
        """What can not be written is found anew after the next open."""
        if self._writer is None:
            return
        put = partial(calibrations.put, generation=generation, data=rules.to_bytes())
        try:
            await self._writer.write(put)
        except CentroiDBError as error:
            log.warning("the calibration of generation %s is not kept: %s", generation, error)

    def _remember(self, generation: GenerationId, rules: Rules) -> None:
        self._known.pop(generation, None)
        self._known[generation] = rules
        if len(self._known) > KEPT_MAX:
            del self._known[next(iter(self._known))]
