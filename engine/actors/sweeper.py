"""The Sweeper: takes away what nobody can see any more, and gives the space back.

    snapshots older than max_snapshot_age   let go
    builds cut short that nobody takes up   dropped
    generations retired or abandoned        dropped in slices, once no snapshot holds them
    dropped tables                          likewise, once the horizon has passed the drop
    rows that ended below the horizon       compacted out of segments, then purged
    the log, old keys of commits, old jobs  up to what is still needed, in slices
    free pages                              returned to the file system in slices

A row may be purged only when no stored segment lists its vid: its death is what
hides it, and with the row the death is forgotten at the next open. So purging
compacts first: new segments without the dead rows are staged, published, and
when no search uses the old manifest, sealed and the old ones deleted in one
transaction.
"""

import logging
import math
import sqlite3
import time
from collections.abc import Callable, Container
from contextlib import suppress
from dataclasses import replace
from functools import partial

import numpy as np
import trio
from numpy.typing import NDArray

from ...txn.deaths import Deaths
from ...wal import catalog, log, meta, rows, schema, segments, slices
from ...wal.errors import CentroiDBError, CorruptError, RetryError
from ...wal.limits import Limits
from ...wal.seal import SegmentRef
from ...wal.segments import StoredSegment
from ...wal.types import GenerationId, IndexId, Lsn, SegmentId, TableId
from ..index.generation import Generation, Segments
from ..storage.blocks import packed, unpacked
from ..storage.folding import Writer, stage
from ..storage.indexes import IndexState
from .job import drop_unfinished
from .state import State

logger = logging.getLogger(__name__)

PERIOD_S = 60.0
DAMAGED_PERIOD_S = 600.0
"""Between two tries to purge a table while a segment can not be read."""
RETIRED_PERIOD_S = 5.0
"""While a generation that was replaced is still held, or was when it was last looked at."""
ROWS_A_SLICE = 128
"""Each may be on a page of its own: 2 MB of pages at most."""
LSNS_A_SLICE = 4_096
"""Commits whose log records, or whose keys, go together: some hundred bytes each."""
PIN_POLL_S = 0.01


class Sweeper:
    """See the module. `run` is its task; `wake` asks for a sweep, `sweep` makes one."""

    def __init__(self, state: State, writer: Writer) -> None:
        self._state = state
        self._writer = writer
        self._send, self._receive = trio.open_memory_channel[None](1)
        """The inbox holds one nudge: what there is to do stands in the state."""
        self._purge_after_s: dict[TableId, float] = {}
        """When a table with a damaged index is purged again at the earliest, asked for or not."""
        self._sweeping = trio.Lock()
        """One sweep at a time: the periodic one, or one that was asked for."""

    def __repr__(self) -> str:
        state = self._state
        return f"<Sweeper: {len(state.retired)} retired, {len(state.abandoned)} abandoned>"

    def wake(self) -> None:
        """Sweep soon; never waits."""
        with suppress(trio.WouldBlock):
            self._send.send_nowait(None)

    def wants_purge(self) -> bool:
        """Whether a table has so many rows to purge that it should be done soon."""
        horizon, enough = self._state.horizon(), self._state.limits.purge_rows
        return any(
            deaths.can_purge(horizon, enough) and self._may_purge(table)
            for table, deaths in self._state.deaths.items()
        )

    def _may_purge(self, table: TableId) -> bool:
        return trio.current_time() >= self._purge_after_s.get(table, -math.inf)

    async def run(self) -> None:
        """The task: until it is cancelled. What was left at the last close goes first."""
        self.wake()
        while True:
            with trio.move_on_after(RETIRED_PERIOD_S if self._state.retired else PERIOD_S):
                await self._receive.receive()
            try:
                await self.sweep()
            except RetryError as error:  # a full disk, say: the next sweep goes on from here
                logger.warning("sweeping: %s", error)
            except CentroiDBError:
                if self._state.failed is None and not self._state.closing:
                    raise

    async def sweep(self, *, thorough: bool = False) -> None:
        """Take away what can go now; `thorough` also purges and frees small amounts."""
        async with self._sweeping:
            limits = self._state.limits
            self._state.snapshots.expire(trio.current_time() - limits.snapshot_age_s)
            await self._end_old_builds()
            await self._let_go_of_kept()
            await self._drop_generations()
            await self._drop_tables()
            for table, deaths in list(self._state.deaths.items()):
                enough = deaths.count_stored >= (1 if thorough else limits.purge_rows)
                if enough and (thorough or self._may_purge(table)):
                    await self._purge(table, deaths)
            await self._writer.do(self._idle_generations, self._moved)
            while not await self._writer.do(partial(self._truncate, thorough), bool):
                pass
            await self._free_pages(thorough=thorough)

    async def _end_old_builds(self) -> None:
        """A build that nobody takes up would hold its S0 for ever."""
        before_s = trio.current_time() - self._state.limits.unfinished_age_s
        for index in list(self._state.indexes.values()):
            unfinished = index.unfinished
            if unfinished is not None and unfinished.since_s < before_s:
                await drop_unfinished(self._state, self._writer, index, "nobody took it up")

    async def _let_go_of_kept(self) -> None:
        """Kept generations that are older than their index keeps them."""
        now_ns = time.time_ns()
        for index in list(self._state.indexes.values()):
            if self._too_old(index, now_ns):
                start, finish = (
                    partial(self._retire_old, index, now_ns),
                    partial(self._retired, index),
                )
                await self._writer.do(start, finish)

    def _too_old(self, index: IndexState, now_ns: int) -> list[Generation]:
        """Kept generations that may go; none during a job, which may bring one back."""
        age_ns = index.parameters.keep_previous_s * 1e9
        if not age_ns or index.building:
            return []
        return [each for each in index.kept if now_ns - each.row.replaced_at_ns > age_ns]

    def _retire_old(
        self, index: IndexState, now_ns: int
    ) -> Callable[[sqlite3.Connection], list[Generation]]:
        """In the turn."""
        old = self._too_old(index, now_ns)

        def work(connection: sqlite3.Connection) -> list[Generation]:
            for generation in old:
                catalog.update_generation(connection, generation.row.id, state="retired")
            return old

        return work

    def _retired(self, index: IndexState, old: list[Generation]) -> None:
        """In the turn; if a job has begun in it, the next sweep asks again."""
        if not index.building:
            index.kept = [each for each in index.kept if each not in old]
            self._state.retired += old

    async def _drop_generations(self) -> None:
        for generation in list(self._state.retired):  # a version comes before its successor
            if generation.held:
                continue
            self._state.retired.remove(generation)
            self._state.abandoned.append(generation.row.id)
            if generation.successor is not None:
                generation.successor.held -= 1
        while self._state.abandoned:
            async with self._state.maintenance:
                pass  # a fold that was writing to it has ended, and none will begin
            await self._drop_generation(self._state.abandoned[0])
            del self._state.abandoned[0]

    async def _drop_generation(self, generation: GenerationId) -> None:
        slice_bytes = self._state.limits.slice_bytes
        while not await self._writer.write(
            lambda c: segments.delete_some(c, generation, slice_bytes)
        ):
            pass
        while not await self._writer.write(lambda c: slices.delete_some(c, generation)):
            pass
        await self._writer.write(lambda c: segments.delete_generation(c, generation))

    async def _drop_tables(self) -> None:
        """Remove dropped tables and indexes that no snapshot sees."""
        horizon = self._state.horizon()
        dropped = await self._writer.write(lambda c: _dropped_tables(c, horizon))
        for table in dropped:
            while await self._writer.write(partial(_delete_rows, table=table)):
                pass
            await self._writer.write(partial(_forget_table, table=table))
            self._state.deaths.pop(table, None)
        held = {generation.row.index for generation in self._state.retired}
        await self._writer.write(lambda c: _forget_indexes(c, horizon, held))

    async def _purge(self, table: TableId, deaths: Deaths) -> None:
        horizon = self._state.horizon()
        ended = deaths.stored_until(horizon)
        if not len(ended):
            return
        deaths.purged_until = horizon
        try:
            await self._compact_all(table, ended)
        except CorruptError as error:  # what it lists is not known: purge nothing
            logger.warning("purging table %s: %s; a rebuild mends it", table, error)
            self._purge_after_s[table] = trio.current_time() + DAMAGED_PERIOD_S
            return
        for start in range(0, len(ended), ROWS_A_SLICE):
            some = ended[start : start + ROWS_A_SLICE]
            await self._writer.write(partial(rows.purge, table=table, vids=some))
        deaths.forget_until(horizon)

    async def _compact_all(self, table: TableId, ended: NDArray[np.int64]) -> None:
        """Every generation that may be searched, a version after its successor.

        What both name is the successor's in the file, and has been rewritten there.
        """
        async with self._state.compaction:
            held = [each for each in reversed(self._state.retired) if each.held]
            kept = [each for each in held if each.table == table]
            for generation in (*self._state.stored_generations(table), *kept):
                await self._compact(generation, ended)

    async def _compact(self, generation: Generation, ended: NDArray[np.int64]) -> None:
        """Rewrite, a few partitions at a time, those that list rows in `ended`.

        Folds may come between: they do not list such rows any more. One that runs now
        may still, in a partition that has no segment yet, so all are looked at.
        """
        slice_bytes = self._state.limits.slice_bytes
        chosen: list[int] = []
        nbytes = 0
        for centroid in range(generation.row.nlist):
            chosen.append(centroid)
            nbytes += sum(ref.nbytes for ref in generation.segments.get(centroid, ()))
            if nbytes >= slice_bytes:
                await self._compact_some(generation, chosen, ended)
                chosen, nbytes = [], 0
        await self._compact_some(generation, chosen, ended)

    async def _compact_some(
        self, generation: Generation, centroids: list[int], ended: NDArray[np.int64]
    ) -> None:
        async with self._state.maintenance:
            chosen = {each: generation.segments.get(each, ()) for each in centroids}
            await self._rewrite(generation, chosen, ended)

    async def _rewrite(
        self, generation: Generation, chosen: Segments, ended: NDArray[np.int64]
    ) -> None:
        slice_bytes, before = self._state.limits.slice_bytes, generation.row
        await self._writer.write(lambda c: segments.delete_beyond(c, before.id, before.seal.last))
        rewritten = await self._state.pool.read(lambda c: _without(c, chosen, ended))
        if not rewritten:
            return
        pieces = [piece for _, piece in rewritten if piece.n]
        staged = iter(await stage(self._writer, generation.row.id, pieces, slice_bytes))
        new: dict[SegmentId, SegmentRef | None] = {
            old: next(staged) if piece.n else None for old, piece in rewritten
        }
        named = self._naming(generation, chosen, new)
        versions = {
            each: each.replace_segments(_replaced(some, new)) for each, some in named.items()
        }
        try:
            while any(each.pinned_before(version) for each, version in versions.items()):  # noqa: ASYNC110 - searches are short
                await trio.sleep(PIN_POLL_S)
            await self._seal(generation, chosen, new)
        except BaseException:
            for each, some in named.items():
                each.replace_segments(some)  # the old segments are still there
            raise

    def _naming(
        self, generation: Generation, chosen: Segments, old: Container[SegmentId]
    ) -> dict[Generation, Segments]:
        """The generation, and older versions of it, that name one of the segments `old`.

        Each with what it has in the partitions `chosen`.
        """
        found: dict[Generation, Segments] = {}
        for each in (generation, *self._state.retired):
            some = {centroid: each.segments.get(centroid, ()) for centroid in chosen}
            if any(ref.id in old for refs in some.values() for ref in refs):
                found[each] = some
        return found

    async def _seal(
        self, generation: Generation, chosen: Segments, new: dict[SegmentId, SegmentRef | None]
    ) -> None:
        removed = [ref for refs in chosen.values() for ref in refs if ref.id in new]
        seal = generation.row.seal.changed([ref for ref in new.values() if ref], removed)

        def work(connection: sqlite3.Connection) -> None:
            catalog.set_seal(connection, generation.row.id, seal)
            segments.delete(connection, list(new))

        def sealed(_: None) -> None:
            generation.row = replace(generation.row, seal=seal)

        await self._writer.do(lambda: work, sealed)

    def _idle_generations(self) -> Callable[[sqlite3.Connection], list[Generation]]:
        """In the turn: generations that have nothing to fold need nothing from the log."""
        now = self._state.heads.lsn
        idle = [
            index.active
            for index in self._state.indexes.values()
            if index.active and not index.active.batches and not len(index.active.delta)
        ]

        def work(connection: sqlite3.Connection) -> list[Generation]:
            for generation in idle:
                catalog.update_generation(connection, generation.row.id, fold_lsn=now)
            return idle

        return work

    def _moved(self, idle: list[Generation]) -> None:
        for generation in idle:
            generation.row = replace(generation.row, fold_lsn=self._state.heads.lsn)

    def _truncate(self, thorough: bool) -> Callable[[sqlite3.Connection], bool]:
        """In the turn: what rollbacks need of the log is known here only."""
        return partial(
            _truncate,
            limits=self._state.limits,
            thorough=thorough,
            log_needed_after=self._state.log_needed_after(),
        )

    async def _free_pages(self, *, thorough: bool) -> None:
        """Return free pages to the file system; a few are kept for the next writes."""
        slice_pages = max(1, self._state.limits.slice_bytes // schema.PAGE_SIZE_BYTES)
        keep = 0 if thorough else 4 * slice_pages
        while await self._writer.write(lambda c: _vacuum_some(c, keep, slice_pages)):
            pass


def _truncate(
    connection: sqlite3.Connection, *, limits: Limits, thorough: bool, log_needed_after: Lsn
) -> bool:
    """Cut a slice of the log that no index needs, of old idempotency keys, and old jobs.

    True when nothing more is to be cut.
    """
    now = Lsn(meta.get_int(connection, "next_lsn") - 1)
    until = min(max(0, now - (0 if thorough else limits.log_records)), log_needed_after)
    needed = catalog.log_needed_after(connection)
    until = until if needed is None else min(needed, until)
    records_until = min(until, meta.get_int(connection, "anchor_lsn") + LSNS_A_SLICE)
    log.truncate(connection, Lsn(records_until))
    (oldest,) = connection.execute("SELECT min(lsn) FROM commits").fetchone()
    old_until = now - limits.commits_kept
    commits_until = old_until if oldest is None else min(old_until, oldest + LSNS_A_SLICE)
    connection.execute("DELETE FROM commits WHERE lsn <= ?", (commits_until,))
    catalog.forget_jobs(connection, limits.jobs_kept)
    return records_until >= until and commits_until >= old_until


def _dropped_tables(connection: sqlite3.Connection, horizon: Lsn) -> list[TableId]:
    return [
        table.id
        for table in catalog.read_tables(connection)
        if table.dropped_lsn is not None and table.dropped_lsn <= horizon
    ]


def _delete_rows(connection: sqlite3.Connection, table: TableId) -> int:
    """Delete one slice of a dropped table's rows; 0 when none is left."""
    return connection.execute(
        f"DELETE FROM rows_{table:d} WHERE vid IN "
        f"(SELECT vid FROM rows_{table:d} LIMIT {ROWS_A_SLICE})"
    ).rowcount


def _forget_table(connection: sqlite3.Connection, table: TableId) -> None:
    schema.drop_storage(connection, table)
    catalog.delete_table(connection, table)


def _forget_indexes(connection: sqlite3.Connection, horizon: Lsn, held: set[IndexId]) -> None:
    """Forget dropped indexes none of whose generations is left."""
    used = held | {row.index for row in catalog.read_generations(connection)}
    for index in catalog.read_indexes(connection):
        dropped = index.dropped_lsn is not None and index.dropped_lsn <= horizon
        if dropped and index.id not in used:
            catalog.delete_index(connection, index.id)


def _without(
    connection: sqlite3.Connection, chosen: Segments, ended: NDArray[np.int64]
) -> list[tuple[SegmentId, StoredSegment]]:
    """The segments that list a row in `ended`, each as it will be without such rows."""
    rewritten = []
    for refs in chosen.values():
        for ref in refs:
            stored = segments.read(connection, ref.id)
            segment = unpacked(stored)
            gone = np.isin(segment.vids, ended)
            if gone.any():
                rewritten.append((ref.id, packed(stored.centroid, segment.keep(~gone))))
    return rewritten


def _replaced(chosen: Segments, new: dict[SegmentId, SegmentRef | None]) -> Segments:
    """The partitions in `chosen` with their rewritten segments, oldest first as in the file."""
    found = {}
    for centroid, refs in chosen.items():
        after = [new.get(ref.id, ref) for ref in refs]
        left = [ref for ref in after if ref is not None]
        found[centroid] = tuple(sorted(left, key=lambda ref: ref.id))
    return found


def _vacuum_some(connection: sqlite3.Connection, keep: int, pages: int) -> bool:
    """Return up to `pages` free pages beyond `keep`; True while there are more."""
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    if free <= keep:
        return False
    connection.execute(f"PRAGMA incremental_vacuum({min(pages, free - keep)})").fetchall()
    return True
