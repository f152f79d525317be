"""`check()`: the file, what the indexes mean, and that memory agrees with the file.

each active or kept generation: every live row below the fold position is in exactly one
segment, with its checksum; rows from there on wait for the next fold
memory: the same tables, deaths, segments; delta and batches hold every live row
after the fold position
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from ...wal import catalog, rows, segments
from ...wal.blocking import run_blocking
from ...wal.catalog import GenerationRow, TableRow
from ...wal.check import Report, check_file
from ...wal.checksum import RowSum
from ...wal.errors import CorruptError, translated
from ...wal.types import TableId
from ..actors.state import State
from ..index.generation import Generation, Manifest
from ..storage.loading import Loaded, load
from .findings import Findings
from .source import LiveSource, Source


async def check_database(source: Source) -> Findings:
    """See `Database.check`."""
    report = Report()
    try:
        await source.read_alone(lambda connection: _check(connection, report))
        if isinstance(source, LiveSource):
            await _check_memory(source.supervisor().state, source, report)
    except CorruptError as error:  # damage that lets nobody read on is a finding too
        report.add(str(error))
    return Findings(
        tuple(report.errors), report.tables, report.rows, report.records, report.segments
    )


def prove(connection: sqlite3.Connection) -> None:
    """The file is whole, as far as `check` can tell without an open database; or CorruptError."""
    report = Report()
    try:
        _check(connection, report)
    except CorruptError as error:  # damage that lets nobody read on
        report.add(str(error))
    if report.errors:
        raise CorruptError("\n".join([f"{len(report.errors)} errors:", *report.errors]))


def _check(connection: sqlite3.Connection, report: Report) -> None:
    with translated("check"):
        connection.execute("BEGIN")
        try:
            check_file(connection, report)
            tables = {row.id: row for row in catalog.read_tables(connection)}
            for generation, table in _whole(connection, tables, report):
                _check_generation(connection, generation, table, report)
        finally:
            connection.execute("ROLLBACK")


def _whole(
    connection: sqlite3.Connection, tables: dict[TableId, TableRow], report: Report
) -> Iterator[tuple[GenerationRow, TableRow]]:
    """The active generation of each index, and those that are kept."""
    rows_of = catalog.read_generations(connection)
    for index in catalog.read_indexes(connection):
        if index.dropped_lsn is not None:
            continue
        mine = [row for row in rows_of if row.index == index.id]
        table = tables.get(index.table)
        states = [row.state for row in mine if row.id == index.active]
        active = index.active is None or states == ["active"]
        report.expect(
            active and table is not None,
            f"index {index.name!r}: its table or its active generation is missing",
        )
        for row in mine:
            if table is not None and (row.id == index.active or row.state == "kept"):
                yield row, table


def _check_centroids(
    connection: sqlite3.Connection, generation: GenerationRow, table: TableRow, report: Report
) -> None:
    with suppress(CorruptError):  # reported with the file
        nbytes = len(segments.read_centroids(connection, generation.id))
        whole = nbytes == 4 * table.dim * generation.nlist
        report.expect(whole, f"generation {generation.id}: has not {generation.nlist} centroids")


def _check_generation(
    connection: sqlite3.Connection, generation: GenerationRow, table: TableRow, report: Report
) -> None:
    name = f"generation {generation.id} of table {table.name!r}"
    _check_centroids(connection, generation, table, report)
    listed: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
    crcs: list[NDArray[np.uint32]] = [np.empty(0, np.uint32)]
    for ref in segments.references(connection, generation.id, generation.seal.last):
        try:
            stored = segments.read(connection, ref.id)
        except CorruptError:
            continue  # reported with the file
        listed.append(np.frombuffer(stored.vids, "<i8"))
        crcs.append(np.frombuffer(stored.row_crcs, "<u4"))
        inside = 0 <= ref.centroid < generation.nlist and len(listed[-1]) == ref.n
        report.expect(inside, f"{name}: segment {ref.id} has a wrong place or count")
    vids = np.concatenate(listed)
    order = np.argsort(vids, kind="stable")
    vids, row_crcs = vids[order], np.concatenate(crcs)[order]
    twice = vids[1:][vids[1:] == vids[:-1]]
    report.expect(not len(twice), f"{name}: lists rows {twice[:5].tolist()} twice")
    beyond = vids[vids >= generation.fold_vid]
    report.expect(not len(beyond), f"{name}: lists rows {beyond[:5].tolist()} not yet folded")
    below = rows.all_versions(connection, table.id, generation.fold_vid)
    gone = np.setdiff1d(vids, below.vids)
    report.expect(not len(gone), f"{name}: lists rows {gone[:5].tolist()} that are purged")
    live = _live(connection, table, below)
    lost = np.setdiff1d(live.vids, vids)
    report.expect(not len(lost), f"{name}: does not list rows {lost[:5].tolist()}")
    seen = np.isin(vids, live.vids)
    same = RowSum.of(vids[seen], row_crcs[seen]) == RowSum.of(live.vids, live.crcs)
    report.expect(same or bool(len(lost)), f"{name}: lists other rows than the table has")


def _live(connection: sqlite3.Connection, table: TableRow, stored: rows.Versions) -> rows.Versions:
    """Those of the stored versions that have not ended."""
    dead, _ = rows.read_deaths(connection, table.id)
    kept = ~np.isin(stored.vids, dead)
    return rows.Versions(stored.vids[kept], stored.crcs[kept])


async def _check_memory(state: State, source: LiveSource, report: Report) -> None:
    """Compare memory with the file in one turn of the Committer, when neither changes."""
    pinned: list[tuple[Generation, Manifest]] = []

    def start() -> Callable[[sqlite3.Connection], Loaded]:
        active = [index.active for index in state.indexes.values() if index.active is not None]
        pinned.extend((generation, generation.manifest()) for generation in active)
        return load

    def finish(loaded: Loaded) -> Loaded:
        _compare_heads(state, loaded, report)
        return loaded

    try:
        async with state.maintenance:  # a compaction shows new segments before they are sealed
            loaded = await source.supervisor().committer.do(start, finish)
        await run_blocking(_compare_generations, pinned, loaded, report)
    finally:
        for generation, manifest in pinned:
            generation.unpin(manifest)


def _compare_heads(state: State, loaded: Loaded, report: Report) -> None:
    report.expect(state.heads == loaded.heads, "memory: the committed state is not the file's")
    report.expect(state.last_crc == loaded.last_crc, "memory: the log's last crc differs")
    for table, deaths in loaded.deaths.items():
        memory = state.deaths[table]
        expected = deaths.stored_until(loaded.heads.lsn)
        found = memory.stored_until(loaded.heads.lsn)
        found = np.union1d(expected, found[memory.listable(found)])  # a purge may be under way
        same = np.array_equal(found, expected)
        same = same and bool(np.all(memory.ends[expected] == deaths.ends[expected]))
        report.expect(same, f"memory: the deaths of table {table} differ")


def _compare_generations(
    pinned: list[tuple[Generation, Manifest]], loaded: Loaded, report: Report
) -> None:
    stored = {index.active.row.id: index.active for index in loaded.indexes if index.active}
    for generation, manifest in pinned:
        name = f"memory: generation {generation.row.id}"
        other = stored.get(generation.row.id)
        if other is None:
            report.add(f"{name} is not active in the file")
            continue
        report.expect(manifest.segments == other.segments, f"{name} has other segments")
        waiting = [manifest.delta.vids, *(batch.vids for batch in manifest.batches)]
        expected = [batch.vids for batch in other.batches] or [np.empty(0, np.int64)]
        missing = np.setdiff1d(np.concatenate(expected), np.concatenate(waiting))
        ends = loaded.deaths[generation.table].ends
        missing = missing[ends[missing] > loaded.heads.lsn]  # a catch-up leaves out what has ended
        report.expect(not len(missing), f"{name} has lost rows {missing[:5].tolist()}")
