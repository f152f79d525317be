"""A search, as a worker thread or the event loop carries it out on one connection.

    rank centroids -> blocks of the probed partitions -> delta -> batches -> scan -> rows

A search for an accuracy goes through the middle of this in waves, each over the next
partitions, until what it has found says that it may stop (`index.probing`).

An exact search has one source instead: the table's rows, a few runs at a time, so
that no reader is busy for long and a checkpoint need not wait for it.
"""

import sqlite3
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from ...txn.deaths import Visibility
from ...wal.catalog import TableRow
from ...wal.rows import StoredRow
from ...wal.types import Key, Vid
from ..index.block import Block
from ..index.centroids import CentroidSearch
from ..index.curves import expected_of
from ..index.delta import DeltaView
from ..index.distance import Metric, nearest
from ..index.generation import Generation, Manifest
from ..index.probing import ladder, next_rung, watched
from ..index.queries import Queries
from ..index.rules import Rules, Stopping
from ..index.scan import Found, Probe, Scan, search
from ..index.spread import row_values
from ..index.sweep import Partitions, Probing
from .blocks import BlockCache, TableReader
from .loading import block_rows

ReadCall = Callable[[Callable[..., Any]], Awaitable[Any]]
"""Runs a function of a connection in a worker thread, in one read transaction."""


@dataclass(frozen=True)
class Query:
    """What is searched for. vectors: float32 (q, d) as the user gave them."""

    metric: Metric
    vectors: NDArray[np.float32]
    k: int
    with_rows: bool = True
    """Whether keys and payloads are read, or the vids are enough."""


@dataclass(frozen=True)
class IndexProbe:
    """How a query goes through an index; everything in it is pinned."""

    generation: Generation
    search: CentroidSearch
    manifest: Manifest
    nprobe: int
    """How many partitions, or at most so many where there are rules."""
    rules: Rules | None = None
    """They say for each query how many partitions `accuracy` takes."""
    accuracy: float = 1.0


class Answer(NamedTuple):
    """What one query found, nearest first, and what it cost."""

    vids: NDArray[np.int64]
    distances: NDArray[np.float64]
    rows_scanned: int
    rows_reranked: int
    partitions_probed: int
    keys: Sequence[Key] = ()
    payloads: Sequence[str | None] = ()
    """JSON texts."""


RUNS_A_STEP = 4
"""An exact search reads so many runs of about 4 MB at a time, and lets others in between."""


def search_index(
    connection: sqlite3.Connection,
    cache: BlockCache,
    table: TableRow,
    visibility: Visibility,
    query: Query,
    probe: IndexProbe,
    *,
    loads: bool = True,
) -> list[Answer]:
    """One Answer a query vector, through an index; see `TableReader.shelf` for `loads`."""
    reader = TableReader(connection, table, cache)
    looking = _Looking(reader, visibility, query, probe, loads=loads)
    answers = looking.together() if probe.rules is None else looking.one_by_one(probe.rules)
    return _with_rows(reader, answers) if query.with_rows else answers


@dataclass(frozen=True)
class _Looking:
    """One search through an index."""

    reader: TableReader
    visibility: Visibility
    query: Query
    probe: IndexProbe
    loads: bool

    def together(self) -> list[Answer]:
        """All queries, each in the `nprobe` best partitions."""
        vectors = self.query.vectors
        scan = self._scan(vectors)
        ranked = self._probe_alone(scan) if len(vectors) == 1 else None
        if ranked is None:
            ranked = self.probe.search.rank(vectors, self.probe.nprobe)
            self._probe(scan, ranked)
        return [_answer(scan.found(at), ranked.shape[1]) for at in range(len(vectors))]

    def one_by_one(self, rules: Rules) -> list[Answer]:
        """Each query in waves of its own."""
        stopping = rules.at(self.query.k, self.probe.accuracy)
        return [self._in_waves(vector[np.newaxis], stopping) for vector in self.query.vectors]

    def _in_waves(self, query: NDArray[np.float32], stopping: Stopping) -> Answer:
        """One query, float32 (1, d): see `index.probing`."""
        metric, search, stop = self.query.metric, self.probe.search, stopping.stop
        ranked = search.rank(query, self.probe.nprobe)
        rungs = ladder(ranked.shape[1])
        seen = ranked[0, watched(rungs)]
        expected = expected_of(metric, query[0], search.centroids, seen, stopping.spread)
        scan = self._scan(query)
        probed, now, following = 0, -1, stop.first_rung(rungs)
        while following > now:
            now = following
            self._probe(scan, np.ascontiguousarray(ranked[:, probed : rungs[now]]))
            probed = int(rungs[now])
            tau = row_values(metric, scan.kth_distance(0))
            following = next_rung(stop, rungs, expected, tau, now)
        return _answer(scan.found(0), probed)

    def _scan(self, vectors: NDArray[np.float32]) -> Scan:
        queries = Queries.of(self.query.metric, vectors)
        return Scan(queries, self.query.k, self.visibility, self.reader.fetch)

    def _probe_alone(self, scan: Scan) -> NDArray[np.int32] | None:
        """Rank and scan for the only query; None where it takes more than the kernels."""
        probe, reader = self.probe, self.reader
        manifest, ranking = probe.manifest, probe.search.ranking
        if ranking is None:
            return None
        shelf = reader.shelf_as_it_is(probe.generation, manifest.segments, probe.nprobe)
        if shelf is None:
            return None
        alive, whole = self.visibility.alive(), reader.keeps_vectors
        ranked = scan.sweep_alone(Probing(ranking, shelf, probe.nprobe, alive, whole))
        if ranked is not None and not manifest.is_folded:
            metric, high = self.query.metric, self.visibility.high
            scan.probe(_in_memory(metric, manifest, high, ranked), None)
        return ranked

    def _probe(self, scan: Scan, ranked: NDArray[np.int32]) -> None:
        """Scan these partitions, int32 (q, p), the stored rows and those in memory."""
        generation, manifest = self.probe.generation, self.probe.manifest
        shelf = self.reader.shelf(generation, manifest.segments, ranked, loads=self.loads)
        probes = _in_memory(self.query.metric, manifest, self.visibility.high, ranked)
        partitions = None
        if shelf is not None:
            partitions = Partitions(shelf, ranked, self.visibility.alive())
        else:
            probes = chain(_stored(self.reader, self.probe, ranked), probes)
        scan.probe(probes, partitions)


def search_runs(
    connection: sqlite3.Connection,
    cache: BlockCache,
    table: TableRow,
    visibility: Visibility,
    query: Query,
    first: Vid,
    until: Vid,
) -> list[Answer]:
    """One Answer a query vector, from the few runs that begin at `first`; without rows."""
    reader = TableReader(connection, table, cache)
    blocks = reader.runs(query.metric, first, until)
    probes = (Probe(block) for block in blocks)
    found = search(
        query.metric, query.vectors, probes, query.k, visible=visibility, fetch=reader.fetch
    )
    return [_answer(each, 0) for each in found]


def step_of(table: TableRow) -> int:
    """How many vids one step of an exact search covers."""
    return RUNS_A_STEP * block_rows(table.dim)


async def search_exactly(
    read: ReadCall,
    cache: BlockCache,
    table: TableRow,
    visibility: Visibility,
    query: Query,
    *,
    step: int | None = None,
) -> list[Answer]:
    """One Answer a query vector, from every row; each step is one short read.

    step: vids of a read, by default a few runs; another number needs a cache without runs.
    """
    answers = [_NOTHING] * len(query.vectors)
    step = step or step_of(table)
    for first in range(0, visibility.high, step):
        some = await read(
            partial(
                search_runs,
                cache=cache,
                table=table,
                visibility=visibility,
                query=query,
                first=Vid(first),
                until=Vid(min(first + step, visibility.high)),
            )
        )
        answers = [_merged(*both, query.k) for both in zip(answers, some, strict=True)]
    if query.with_rows:
        answers = await read(partial(add_rows, cache=cache, table=table, answers=answers))
    return answers


def _answer(found: Found, probed: int) -> Answer:
    return Answer(found.vids, found.distances, found.rows_scanned, found.rows_reranked, probed)


_NOTHING = Answer(np.empty(0, np.int64), np.empty(0), 0, 0, 0)


def _merged(one: Answer, other: Answer, k: int) -> Answer:
    """The nearest of two answers to one query, over rows that are not in both."""
    vids = np.concatenate([one.vids, other.vids])
    distances = np.concatenate([one.distances, other.distances])
    order = nearest(distances, vids, k)
    scanned = one.rows_scanned + other.rows_scanned
    reranked = one.rows_reranked + other.rows_reranked
    return Answer(vids[order], distances[order], scanned, reranked, 0)


def _stored(reader: TableReader, probe: IndexProbe, ranked: NDArray[np.int32]) -> Iterator[Probe]:
    """The stored partitions, one after another; ranked: int32 (q, nprobe)."""
    segments = probe.manifest.segments
    for centroid, queries in _askers(ranked):
        refs = segments.get(centroid)
        if refs:
            yield Probe(reader.partition(probe.generation, centroid, refs), queries)


def _in_memory(
    metric: Metric, manifest: Manifest, high: Vid, ranked: NDArray[np.int32]
) -> Iterator[Probe]:
    """The rows in these partitions that are not stored yet."""
    for rows_in_memory in _unfolded(manifest, high):
        yield from _probes_in_memory(metric, rows_in_memory, ranked)


def _askers(ranked: NDArray[np.int32]) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Each probed centroid with the queries that probe it; ranked: int32 (q, nprobe)."""
    if len(ranked) == 1:
        alone = np.zeros(1, np.intp)
        for centroid in ranked[0].tolist():
            yield centroid, alone
        return
    flat = ranked.ravel()
    order = np.argsort(flat, kind="stable")
    centroids, starts = np.unique(flat[order], return_index=True)
    queries = np.split(order // ranked.shape[1], starts[1:])
    yield from zip(centroids.tolist(), queries, strict=True)


def _unfolded(manifest: Manifest, high: Vid) -> Iterator[DeltaView]:
    """The delta, and the batches this snapshot may see, which are assigned here if need be."""
    if len(manifest.delta):
        yield manifest.delta
    for batch in manifest.batches:
        if batch.vids[0] < high:
            yield batch.rows


def _probes_in_memory(
    metric: Metric, view: DeltaView, ranked: NDArray[np.int32]
) -> Iterator[Probe]:
    if len(ranked) == 1:
        chosen = view.of_centroids(ranked[0])
        if len(chosen):
            yield Probe(Block.plain(metric, view.vids[chosen], view.vectors[chosen]))
        return
    order = np.argsort(view.centroids, kind="stable")
    filed = view.centroids[order]
    for centroid, queries in _askers(ranked):
        start, end = np.searchsorted(filed, [centroid, centroid + 1])
        chosen = order[start:end]
        if len(chosen):
            yield Probe(Block.plain(metric, view.vids[chosen], view.vectors[chosen]), queries)


def add_rows(
    connection: sqlite3.Connection, cache: BlockCache, table: TableRow, answers: list[Answer]
) -> list[Answer]:
    """The answers with keys and payloads; CorruptError for a row that is not as it was written."""
    return _with_rows(TableReader(connection, table, cache), answers)


def _with_rows(reader: TableReader, answers: list[Answer]) -> list[Answer]:
    known = [reader.keys(answer.vids) for answer in answers]
    unknown = [
        vid
        for answer, keys in zip(answers, known, strict=True)
        if None in keys
        for vid, key in zip(answer.vids.tolist(), keys, strict=True)
        if key is None
    ]
    stored = reader.rows(unknown) if unknown else {}
    return [_described(*both, stored) for both in zip(answers, known, strict=True)]


def _described(answer: Answer, known: list[Key | None], stored: Mapping[int, StoredRow]) -> Answer:
    """An answer with the keys that are known, and all else of the other rows."""
    if not stored:
        return answer._replace(keys=cast("list[Key]", known), payloads=[None] * len(known))
    keys: list[Key] = []
    payloads: list[str | None] = []
    for vid, key in zip(answer.vids.tolist(), known, strict=True):
        keys.append(stored[vid].key if key is None else key)
        payloads.append(stored[vid].payload if key is None else None)
    return answer._replace(keys=keys, payloads=payloads)
