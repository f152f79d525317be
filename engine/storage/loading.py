"""The committed state as it is read from the file: at open, and by a foreign reader.

What is in memory only while a database is open comes back from the rows: the
rows with vids from a generation's fold position on are its batches again.
"""

import logging
import sqlite3
from dataclasses import dataclass
from typing import cast, get_args

import numpy as np
from numpy.typing import NDArray

from ...txn.deaths import Deaths
from ...txn.head import Heads
from ...wal import catalog, meta, rows, segments
from ...wal.catalog import GenerationRow, TableRow
from ...wal.errors import CorruptError, translated
from ...wal.seal import SegmentRef
from ...wal.types import Lsn, TableId, Vid
from ...wal.vectors import read_block
from ..index.centroids import ExactSearch
from ..index.codec import CODECS
from ..index.delta import Delta
from ..index.distance import Metric
from ..index.generation import Batch, Generation
from .indexes import IndexState

log = logging.getLogger(__name__)

BLOCK_BYTES = 4 << 20


@dataclass(frozen=True)
class Loaded:
    """What the file says."""

    heads: Heads
    last_crc: int
    deaths: dict[TableId, Deaths]
    indexes: list[IndexState]


def load(connection: sqlite3.Connection) -> Loaded:
    """Read the committed state, inside one read transaction; CorruptError if it makes no sense."""
    with translated("reading the committed state"):
        lsn = Lsn(meta.get_int(connection, "next_lsn") - 1)
        heads = Heads.of(lsn, catalog.read_tables(connection))
        for table in heads.tables.values():
            _require_metric(f"table {table.name!r}", table.metric)
        return Loaded(
            heads,
            meta.get_int(connection, "last_crc"),
            {table.id: load_deaths(connection, table) for table in heads.tables.values()},
            load_indexes(connection, heads),
        )


def _require_metric(whose: str, metric: str) -> None:
    if metric not in get_args(Metric):
        raise CorruptError(f"{whose}: there is no metric {metric!r}")


def load_deaths(connection: sqlite3.Connection, table: TableRow) -> Deaths:
    """The ended versions of a table that are still stored."""
    rows.require_plausible(connection, table)
    deaths = _room_for_deaths(table)
    vids, ends = rows.read_deaths(connection, table.id)
    if len(vids) and not 0 < vids.min() <= vids.max() < table.next_vid:
        raise CorruptError(f"table {table.name!r}: a version ended that never was")
    deaths.load(vids, ends)
    return deaths


def _room_for_deaths(table: TableRow) -> Deaths:
    try:
        return Deaths(table.next_vid)
    except (MemoryError, ValueError):  # numpy's word for more than can be addressed
        raise CorruptError(
            f"table {table.name!r}: no memory for {table.next_vid} versions"
        ) from None


def load_indexes(connection: sqlite3.Connection, heads: Heads) -> list[IndexState]:
    """All indexes that are not dropped, with their active generations."""
    by_id = {row.id: row for row in catalog.read_generations(connection)}
    found = []
    for row in catalog.read_indexes(connection):
        if row.dropped_lsn is not None:
            continue
        index = IndexState(row)
        generation = by_id.get(row.active) if row.active is not None else None
        _require_metric(f"index {row.name!r}", row.metric)
        if row.table not in heads.tables:
            raise CorruptError(f"index {row.name!r} is of table {row.table}, which is not there")
        table = heads.tables[row.table]
        if generation is not None and generation.state != "active":
            log.warning("index %r: its generation is not active; rebuild it", row.name)
        elif generation is not None:
            index.active = _load_if_whole(connection, generation, table)
        for kept in by_id.values():
            if (kept.index, kept.state) == (row.id, "kept"):
                whole = _load_if_whole(connection, kept, table)
                index.kept += [whole] if whole else []
        index.kept.sort(key=lambda each: each.row.replaced_at_ns)
        found.append(index)
    return found


def _load_if_whole(
    connection: sqlite3.Connection, row: GenerationRow, table: TableRow
) -> Generation | None:
    """None for a generation that is damaged: searches are exact then."""
    try:
        with translated("reading its pieces"):
            return load_generation(connection, row, table)
    except CorruptError as error:
        log.warning("index %s is not used: %s; rebuild it", row.index, error)
        return None


def by_partition(refs: list[SegmentRef]) -> dict[int, tuple[SegmentRef, ...]]:
    """Segments grouped by their partition, in their order."""
    grouped: dict[int, tuple[SegmentRef, ...]] = {}
    for ref in refs:
        grouped[ref.centroid] = (*grouped.get(ref.centroid, ()), ref)
    return grouped


def load_generation(
    connection: sqlite3.Connection, row: GenerationRow, table: TableRow
) -> Generation:
    """A generation with what it has stored; an active one with the rows after it as batches."""
    if row.codec not in CODECS:
        raise CorruptError(f"generation {row.id}: there is no codec {row.codec!r}")
    _require_metric(f"generation {row.id}", row.metric)
    if not 0 < row.fold_vid <= table.next_vid or row.nlist < 1:
        raise CorruptError(f"generation {row.id}: its position or its size can not be")
    centroids = stored_centroids(connection, row, table.dim)
    refs = segments.references(connection, row.id, row.seal.last)
    if not row.seal.holds(refs):
        raise CorruptError(f"generation {row.id}: segments are missing")
    if any(not 0 <= ref.centroid < row.nlist for ref in refs):
        raise CorruptError(f"generation {row.id}: a segment is of no partition")
    search = ExactSearch(cast("Metric", row.metric), centroids)
    generation = Generation(table.id, row, centroids, search, by_partition(refs), Delta(table.dim))
    generation.known_until = row.fold_vid
    if row.state == "active":
        generation.batches = load_batches(
            connection, table, row.fold_vid, table.next_vid, generation
        )
    return generation


def stored_centroids(
    connection: sqlite3.Connection, row: GenerationRow, dim: int
) -> NDArray[np.float32]:
    """The centroids of a generation, float32 (nlist, dim)."""
    raw = segments.read_centroids(connection, row.id)
    if len(raw) != row.nlist * dim * 4:
        raise CorruptError(f"generation {row.id}: {len(raw)} bytes of {row.nlist} centroids")
    return np.frombuffer(raw, "<f4").reshape(row.nlist, dim)


def load_batches(
    connection: sqlite3.Connection, table: TableRow, first: Vid, until: Vid, generation: Generation
) -> list[Batch]:
    """The stored rows with `first` <= vid < `until`, as batches of a few MB."""
    step = block_rows(table.dim)
    batches = []
    for start in range(first, until, step):
        end = Vid(min(until, start + step))
        block = read_block(connection, table.id, Vid(start), end, table.dim)
        if len(block.vids):
            lsn = Lsn(0)  # a position is only needed for rows that a commit hands over
            batches.append(Batch(lsn, block.vids, block.vectors, block.crcs, generation.search))
    return batches


def block_rows(dim: int) -> int:
    """How many vectors are read at a time: 4,096, or about 4 MB of them if that is fewer."""
    return max(1, min(4_096, BLOCK_BYTES // (4 * dim)))
