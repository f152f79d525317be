"""Reads of one table in one view: the same for a table, a snapshot and a transaction."""

import sqlite3
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

import numpy as np
import trio
from numpy.typing import ArrayLike, NDArray

from ...txn.deaths import Visibility
from ...wal import rows
from ...wal.errors import CorruptError, InputError
from ...wal.rows import StoredRow
from ...wal.types import Key, Vid
from ..actors.view import PinnedIndex, View
from ..index.distance import Metric
from ..index.parameters import default_nprobe
from ..storage.loading import block_rows
from ..storage.lookup import Answer, IndexProbe, Query
from .hits import Row
from .inputs import Inputs, check_integer, decoded, unknown
from .source import Source

METRICS: tuple[Metric, ...] = ("l2", "cosine", "dot")
NPROBE_MAX = 65_535


@dataclass(frozen=True)
class SearchOptions:
    """How to search: see `Table.search`."""

    k: int
    nprobe: int | None = None
    accuracy: float | None = None
    exact: bool = False
    index: str | None = None
    metric: Metric | None = None


class TableReading:
    """A table as one view sees it."""

    def __init__(self, source: Source, view: View, name: str) -> None:
        table = view.table(name)
        if table is None:
            raise unknown("table", name, (row.name for row in view.snapshot.heads.tables.values()))
        self.table = table
        self.view = view
        self._source = source
        self.inputs = Inputs(table, source.limits)

    @property
    def visibility(self) -> Visibility:
        """What the view sees of the table."""
        return self.view.visibility(self.table)

    @property
    def count(self) -> int:
        """Rows in the view."""
        return self.table.live

    async def get(self, keys: Sequence[Key], *, vectors: bool) -> list[Row | None]:
        """The rows of `keys`, in their order; None for a key without one."""
        found: list[Row | None] = await self.view.read(
            lambda connection: self._get(connection, keys, vectors)
        )
        return found

    def _get(
        self, connection: sqlite3.Connection, keys: Sequence[Key], vectors: bool
    ) -> list[Row | None]:
        lsn = self.view.snapshot.lsn
        table = self.table
        vids = rows.versions_at(connection, table.id, keys, table.next_vid, lsn)
        stored = rows.fetch(connection, table, list(vids.values()))
        for key, vid in vids.items():
            if stored[vid].key != key:
                raise CorruptError(f"table {table.name!r}: key {key!r} leads to another's row")
        found = {key: _row(stored[vid], vectors) for key, vid in vids.items()}
        return [found.get(key) for key in keys]

    async def versions_of(self, keys: Sequence[Key]) -> dict[Key, Vid]:
        """The version of each key that the view sees; keys without one are left out."""
        lsn, table = self.view.snapshot.lsn, self.table
        found: dict[Key, Vid] = await self.view.read(
            lambda c: rows.versions_at(c, table.id, keys, table.next_vid, lsn)
        )
        return found

    async def vids_of(self, keys: Sequence[Key]) -> NDArray[np.int64]:
        """The versions of `keys` that the view sees, int64 ascending; fewer than keys."""
        return np.array(sorted((await self.versions_of(keys)).values()), dtype=np.int64)

    async def iterate(self, *, vectors: bool) -> AsyncGenerator[Row, None]:
        """All rows, oldest version first, read a few thousand at a time."""
        step = block_rows(self.table.dim)
        for first in range(0, self.table.next_vid, step):
            until = min(first + step, self.table.next_vid)
            read = partial(self._range, first=first, until=until, vectors=vectors)
            for row in await self.view.read(read):
                yield row

    def _range(
        self, connection: sqlite3.Connection, first: int, until: int, vectors: bool
    ) -> list[Row]:
        vids = rows.read_versions(connection, self.table.id, Vid(first), Vid(until)).vids
        seen = self.visibility(vids)
        wanted = (vids if seen is None else vids[seen]).tolist()
        stored = rows.fetch(connection, self.table, wanted)
        return [_row(stored[vid], vectors) for vid in wanted]

    def queries(self, query: ArrayLike, metric: Metric) -> NDArray[np.float32]:
        """Query vectors, float32 (q, dim), checked like rows."""
        return self.inputs.vectors(query, "query vector", metric)

    async def search(
        self,
        query: ArrayLike,
        options: SearchOptions,
        *,
        hidden: NDArray[np.int64] | None = None,
        with_rows: bool = True,
    ) -> list[Answer]:
        """One answer a query vector; versions in `hidden` are not found."""
        k = check_integer("k", options.k, 1, self._source.limits.k)
        metric = self.metric(options)
        vectors = self.queries(query, metric)
        pinned = self._index(options, metric)
        visibility = self.visibility if hidden is None else self.visibility.excluding(hidden)
        if not len(vectors):
            await trio.lowlevel.checkpoint()
            return []
        wanted = Query(metric, vectors, k, with_rows)
        with self.view.kept():
            return await self._answers(visibility, wanted, pinned, options)

    async def _answers(
        self,
        visibility: Visibility,
        query: Query,
        pinned: PinnedIndex | None,
        options: SearchOptions,
    ) -> list[Answer]:
        if pinned is None or pinned.generation is None or pinned.search is None:
            return await self._source.search(self.view, self.table, visibility, query, None)
        generation, nlist = pinned.generation, pinned.generation.row.nlist
        accuracy, rules = _accuracy(options, pinned), None
        nprobe = default_nprobe(nlist) if options.nprobe is None else min(nlist, options.nprobe)
        if accuracy is not None:
            nprobe = nlist
            if accuracy < 1:  # else there is nothing to choose
                rules = await self._source.rules(self.table, generation)
        manifest = generation.manifest()
        try:
            probe = IndexProbe(generation, pinned.search, manifest, nprobe, rules, accuracy or 1.0)
            return await self._source.search(self.view, self.table, visibility, query, probe)
        finally:
            generation.unpin(manifest)

    def metric(self, options: SearchOptions) -> Metric:
        """The metric a search goes by: the index's, the one asked for, or the table's."""
        if options.index is not None:
            row = self.index_named(options.index).row
            if options.metric not in (None, row.metric):
                raise InputError(
                    f"index {row.name!r} is for metric {row.metric!r}, got {options.metric!r}"
                )
            return cast("Metric", row.metric)
        metric = options.metric or self.table.metric
        if metric not in METRICS:
            raise InputError(f"metric: expected one of {', '.join(METRICS)}, got {metric!r}")
        return metric

    def _index(self, options: SearchOptions, metric: Metric) -> PinnedIndex | None:
        """The index to use; None searches exactly."""
        if options.nprobe is not None:
            check_integer("nprobe", options.nprobe, 1, NPROBE_MAX)
        if options.accuracy is not None:
            check_accuracy(options.accuracy)
            if options.nprobe is not None:
                raise InputError("expected nprobe or accuracy, got both")
        if options.exact:
            return None
        if options.index is None:
            return self.view.choose_index(self.table.id, metric)
        pinned = self.index_named(options.index)
        return pinned if self.view.serves(pinned) else None

    def index_named(self, name: str) -> PinnedIndex:
        """The index of the table called `name`."""
        indexes = self.view.indexes_of(self.table.id)
        for pinned in indexes:
            if pinned.row.name == name:
                return pinned
        raise unknown("index", name, (pinned.row.name for pinned in indexes))


def check_accuracy(accuracy: object) -> None:
    """Raise InputError for what is no share of the nearest rows."""
    number = isinstance(accuracy, int | float | np.number) and not isinstance(accuracy, bool)
    if not number or not 0 < accuracy <= 1:  # type: ignore[operator]  # it is a number
        raise InputError(f"accuracy: expected a share above 0, at most 1, got {accuracy!r}")


def _accuracy(options: SearchOptions, pinned: PinnedIndex) -> float | None:
    """What a search is to reach: as asked, or else as its index says; None goes by nprobe."""
    if options.nprobe is not None:
        return None
    if options.accuracy is not None:
        return float(options.accuracy)
    target: int | None = pinned.row.parameters.get("target_accuracy")
    return None if target is None else target / 100


def _row(stored: StoredRow, vectors: bool) -> Row:
    vector = np.frombuffer(stored.vector, "<f4") if vectors else None
    return Row(stored.key, decoded(stored.payload), vector)
