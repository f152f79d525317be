"""A table: rows of (key, vector, payload), searched by vector."""

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from types import TracebackType
from typing import Any, Literal

import trio
from numpy.typing import ArrayLike

from ...wal.catalog import TableRow
from ...wal.errors import InputError, NotFoundError
from ...wal.types import TableId
from ..actors import ddl
from ..actors.rebuild.budget import plan_for
from ..actors.view import View
from ..index.distance import Metric
from ..index.parameters import AutoRebuild, IndexParameters
from .hits import Row
from .index import Index
from .inputs import Inputs, check_name
from .options import effort_of
from .reading import TableReading
from .results import WriteResult
from .snapshot import Snapshot
from .source import Source
from .statistics import TableStatistics
from .writing import TableWriting

log = logging.getLogger(__name__)

ROWS_A_PARTITION_MIN = 10
"""With fewer a probe reads little more than centroids."""


class Table:
    """Comes from `Database.create_table` and `Database.table`."""

    def __init__(self, source: Source, table_id: TableId, name: str) -> None:
        self._source = source
        self._id = table_id
        self.name = name

    def __repr__(self) -> str:
        return f"<Table {self.name!r}>"

    def _writing(self) -> TableWriting:
        supervisor = self._source.supervisor()
        table = supervisor.state.heads.tables.get(self._id)
        if table is None:
            raise NotFoundError(f"table {self.name!r} was dropped")
        limits = self._source.limits
        return TableWriting(supervisor.committer, table, Inputs(table, limits), limits.chunk_bytes)

    def _snapshot(self, given: Snapshot | None = None) -> "_At":
        return _At(self._source, self._id, self.name, given)

    async def upsert(
        self,
        ids: Any,
        vectors: ArrayLike | None = None,
        payloads: Any = None,
        *,
        idempotency_key: str | None = None,
    ) -> WriteResult:
        """Insert rows, or replace those whose keys are there.

        ids, vectors (n, dim), payloads: n keys, numbers and JSON values (or None);
        or a key, a vector (dim,) and a payload; or an iterable of mappings with
        `id`, `vector` and perhaps `payload`. Of a key that comes twice the last row
        counts. Any size: it is written in commits of about 1 MB, each atomic.

        Raises InputError, naming the row, before anything is written (from an
        iterable: before the chunk that the row is in). `error.written` says what was.
        Cancelled, the commit under way is finished.
        """
        return await self._writing().put(ids, vectors, payloads, "replace", idempotency_key)

    async def insert(
        self,
        ids: Any,
        vectors: ArrayLike | None = None,
        payloads: Any = None,
        *,
        idempotency_key: str | None = None,
    ) -> WriteResult:
        """Insert rows; takes what `upsert` takes. DuplicateKeyError when a key is there.

        A large call is several commits: those before the one with that key stay, and
        `error.written` says what is in. Inside a transaction it is all or nothing.
        """
        return await self._writing().put(ids, vectors, payloads, "refuse", idempotency_key)

    async def update_payloads(
        self, ids: Any, payloads: Any, *, idempotency_key: str | None = None
    ) -> WriteResult:
        """Replace payloads; the vectors stay. NotFoundError for a key without a row."""
        return await self._writing().update_payloads(ids, payloads, idempotency_key)

    async def delete(self, ids: Any, *, idempotency_key: str | None = None) -> WriteResult:
        """Delete the rows of a key or of keys; keys without one are passed over."""
        return await self._writing().delete(ids, idempotency_key)

    async def get(self, ids: Any, *, vectors: bool = False) -> Any:
        """The Row of a key, or None; for a sequence of keys a list, in its order."""
        async with self._snapshot() as snapshot:
            return await snapshot.get(self.name, ids, vectors=vectors)

    async def count(self) -> int:
        """How many rows there are."""
        async with self._snapshot() as snapshot:
            return await snapshot.count(self.name)

    async def iterate(self, *, vectors: bool = False) -> AsyncGenerator[Row, None]:
        """All rows of one state, oldest version first."""
        await trio.lowlevel.checkpoint()
        async with (
            self._snapshot() as snapshot,
            aclosing(snapshot.iterate(self.name, vectors=vectors)) as rows,
        ):
            async for row in rows:
                yield row

    async def search(
        self,
        query: ArrayLike,
        k: int = 10,
        *,
        nprobe: int | None = None,
        accuracy: float | None = None,
        exact: bool = False,
        index: str | None = None,
        metric: Metric | None = None,
        snapshot: Snapshot | None = None,
    ) -> Any:
        """The k rows nearest to a query vector (dim,), as Hits; to each of (n, dim), as a list.

        k: at most 10,000 (`Limits.k`). nprobe: how many partitions are looked at, by
        default a tenth, at least 8; more than there are means all. accuracy: what share of
        the nearest rows is to be found on average, in place of nprobe; by default the
        index's target accuracy, if it has one; it holds for k up to 1,000. The first
        search for one waits until the index is calibrated. exact: look at every row.
        index: by name, else the newest for the metric, else exact. metric: by default the
        table's.
        Distances: l2 is Euclidean, cosine is 1 - cos, dot is -x.q; each the same to
        the last bit on every path.
        """
        async with self._snapshot(snapshot) as at:
            return await at.search(
                self.name,
                query,
                k,
                nprobe=nprobe,
                accuracy=accuracy,
                exact=exact,
                index=index,
                metric=metric,
            )

    async def create_index(
        self,
        name: str,
        *,
        metric: Metric | None = None,
        nlist: int | None = None,
        samples_per_partition: int = 100,
        min_vectors_per_partition: int = 0,
        codec: Literal["auto", "flat", "sq8"] = "auto",
        centroid_search: Literal["auto", "exact", "hnsw"] = "auto",
        seed: int = 0,
        start: Literal["sample", "kmeans++"] = "sample",
        balance: bool = True,
        target_accuracy: int | None = None,
        memory_bytes: int | None = None,
        auto_rebuild: AutoRebuild = "advise",
        parallel: int | None = None,
        if_not_exists: bool = False,
    ) -> Index:
        """Make an IVF index and build it, online; returns when it is in use.

        metric: by default the table's. nlist: partitions, by default about the square
        root of the rows. codec: `sq8` (int8, exact all the same) or `flat`; by default
        sq8 above 64 dims. start: where k-means begins, at rows of the sample or spread out
        by k-means++. balance: whether it splits partitions that are too large.
        parallel: worker threads of this build, by default one less than cores.
        memory_bytes: what a build may take at most, this one and later ones; a smaller sample
        of the rows then makes the centroids, and a budget that is too small is refused.
        auto_rebuild: what is done when it should be rebuilt, see `Index.alter`.
        On too few rows it stays exact and trains itself later.
        """
        supervisor = self._source.supervisor()
        check_name("index", name)
        effort = effort_of({"parallel": parallel})
        await trio.lowlevel.checkpoint()
        async with self._snapshot() as snapshot:
            table = TableReading(self._source, snapshot.view, self.name).table
        parameters = IndexParameters(
            metric=metric or table.metric,  # type: ignore[arg-type]  # checked when it was made
            nlist=nlist,
            samples_per_partition=samples_per_partition,
            min_vectors_per_partition=min_vectors_per_partition,
            codec=codec,
            centroid_search=centroid_search,
            seed=seed,
            start=start,
            balance=balance,
            target_accuracy=target_accuracy,
            memory_bytes=memory_bytes,
            auto_rebuild=auto_rebuild,
        )
        _warn_of_few_rows(name, parameters, table)
        state = supervisor.state
        known = next((each for each in state.indexes.values() if each.row.name == name), None)
        if known is not None and if_not_exists:
            if known.row.table != self._id:
                raise InputError(f"index {name!r} exists already, on another table")
            return Index(self._source, known.row.id, name)
        plan_for(table, table.live, parameters, state.limits, parallel=1)  # or it is refused
        made = await ddl.create_index(state, supervisor.committer, table, name, parameters)
        try:
            if supervisor.monitor.has_rows_enough(made):
                await supervisor.build(made, effort=effort)
        finally:
            made.reserved = False
        return Index(self._source, made.row.id, name)

    async def index(self, name: str) -> Index:
        """An index of this table."""
        await trio.lowlevel.checkpoint()
        async with self._snapshot() as snapshot:
            pinned = snapshot.reading(self.name).index_named(name)
            return Index(self._source, pinned.row.id, name)

    async def statistics(self) -> TableStatistics:
        """Figures of this moment."""
        await trio.lowlevel.checkpoint()
        async with self._snapshot() as snapshot:
            table = snapshot.reading(self.name).table
            ended = snapshot.view.deaths[table.id].count_stored
            indexes = len(snapshot.view.indexes_of(table.id))
            return TableStatistics.of(table, ended=ended, indexes=indexes)


class _At:
    """The snapshot given, or one of this moment; this very table must be in it.

    Not always a checkpoint: reads are, and a search would take two turns of the loop.
    """

    def __init__(self, source: Source, table: TableId, name: str, given: Snapshot | None) -> None:
        self._source = source
        self._table = table
        self._name = name
        self._given = given
        self._opened: View | None = None
        """What is to be closed."""

    async def __aenter__(self) -> Snapshot:
        if self._given is not None:
            return self._with_table(self._given)
        self._opened = await self._source.open_view()
        try:
            return self._with_table(Snapshot(self._source, self._opened))
        except NotFoundError:
            await self._source.close_view(self._opened)
            raise

    def _with_table(self, snapshot: Snapshot) -> Snapshot:
        """Another table may have got the name of one that was dropped."""
        if self._table not in snapshot.view.snapshot.heads.tables:
            raise NotFoundError(f"table {self._name!r} was dropped, or made after the snapshot")
        return snapshot

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._opened is not None:
            await self._source.close_view(self._opened)


def _warn_of_few_rows(name: str, parameters: IndexParameters, table: TableRow) -> None:
    nlist = parameters.nlist or 0
    if nlist * ROWS_A_PARTITION_MIN > table.live:
        log.warning(
            "index %s: nlist=%d on %d rows leaves fewer than %d rows a partition; rebuild it when "
            "there are more",
            name,
            nlist,
            table.live,
            ROWS_A_PARTITION_MIN,
        )
