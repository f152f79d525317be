"""CREATE and DROP as commits, ALTER as a chore: what each does to the file, and to memory."""

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ...txn.writes import CommitRequest, Ddl, Outcome
from ...wal import catalog, schema
from ...wal.catalog import IndexRow, TableRow
from ...wal.errors import InputError, NotFoundError
from ...wal.types import IndexId, KeyType, Lsn, TableId
from ..index.parameters import IndexParameters
from ..storage.indexes import IndexState, Unfinished
from .committer import Committer
from .errors import BusyError
from .state import State

Altered = tuple[IndexRow, Unfinished | None]
"""An index and a build of it that was cut short, after an ALTER."""


async def create_table(
    committer: Committer, name: str, dim: int, metric: str, key_type: KeyType
) -> TableId:
    """Commit a new table; InputError when the name is taken."""

    def change(connection: sqlite3.Connection, lsn: Lsn) -> TableId:
        if _taken(connection, "tables", name):
            raise InputError(f"table {name!r} exists already")
        table = catalog.insert_table(connection, name, dim, metric, key_type, lsn)
        schema.create_storage(connection, table, key_type)
        return table

    outcome = await committer.commit(CommitRequest([Ddl("create_table", None, change)]))
    made: TableId = outcome.made
    return made


async def drop_table(state: State, committer: Committer, table: TableRow) -> None:
    """Commit the end of a table and of its indexes. Snapshots from before still see it."""

    def change(connection: sqlite3.Connection, lsn: Lsn) -> None:
        for index in catalog.read_indexes(connection):
            if index.table == table.id:
                _retire(connection, index.id)
        catalog.mark_table_dropped(connection, table.id, lsn)

    def published(_: Outcome) -> None:
        for index in [each for each in state.indexes.values() if each.row.table == table.id]:
            _forget(state, index)

    request = CommitRequest([Ddl("drop_table", table.id, change)])
    await committer.commit(request, published)


async def create_index(
    state: State, committer: Committer, table: TableRow, name: str, parameters: IndexParameters
) -> IndexState:
    """Commit a new index that has no generation yet; InputError when the name is taken.

    It is reserved for the caller, who builds it and ends the reservation.
    """
    stored = parameters.to_json()

    def change(connection: sqlite3.Connection, lsn: Lsn) -> IndexId:
        if _taken(connection, "indexes", name):
            raise InputError(f"index {name!r} exists already")
        metric = parameters.metric
        return catalog.insert_index(connection, name, table.id, metric, stored, lsn)

    made: list[IndexState] = []

    def published(outcome: Outcome) -> None:
        row = catalog.IndexRow(
            outcome.made, name, table.id, parameters.metric, stored, None, outcome.lsn, None
        )
        made.append(IndexState(row, reserved=True))
        state.indexes[row.id] = made[0]

    request = CommitRequest([Ddl("create_index", table.id, change)])
    await committer.commit(request, published)
    return made[0]  # a drop in the same group may have taken it out of the state again


async def drop_index(state: State, committer: Committer, index: IndexState) -> None:
    """Commit the end of an index. Snapshots from before still use it."""

    def change(connection: sqlite3.Connection, lsn: Lsn) -> None:
        _retire(connection, index.row.id)
        catalog.mark_index_dropped(connection, index.row.id, lsn)

    request = CommitRequest([Ddl("drop_index", index.row.table, change)])
    await committer.commit(request, lambda _: _forget(state, index))


async def alter_index(
    state: State, committer: Committer, index: IndexState, changes: dict[str, Any]
) -> None:
    """Change how an index is kept and watched; no commit, as no row and no search changes.

    A build of it that was cut short is told too, since its swap brings its parameters.
    Raises NotFoundError when it was dropped, BusyError while a build decides what is kept.
    """

    def start() -> Callable[[sqlite3.Connection], Altered]:
        name = index.row.name
        if index.row.id not in state.indexes:
            raise NotFoundError(f"index {name!r} was dropped")
        if index.building and "keep_previous" in changes:
            raise BusyError(f"index {name!r}: keep_previous waits until its build is done")
        row = replace(index.row, parameters=index.parameters.changed(**changes).to_json())
        unfinished = _told(index.unfinished, changes)

        def work(connection: sqlite3.Connection) -> Altered:
            catalog.set_parameters(connection, row.id, row.parameters)
            if unfinished is not None:
                build = unfinished.row
                catalog.set_build_parameters(connection, build.id, build.parameters)
            return row, unfinished

        return work

    def finish(altered: Altered) -> None:
        index.row, unfinished = altered
        if index.unfinished is not None:
            index.unfinished = unfinished

    await committer.do(start, finish)


def _told(unfinished: Unfinished | None, changes: dict[str, Any]) -> Unfinished | None:
    """The build, asked to be what the index is now in this."""
    if unfinished is None:
        return None
    parameters = IndexParameters.from_json(unfinished.row.parameters).changed(**changes)
    return replace(unfinished, row=replace(unfinished.row, parameters=parameters.to_json()))


def _taken(connection: sqlite3.Connection, kind: str, name: str) -> bool:
    return (
        connection.execute(
            f"SELECT 1 FROM {kind} WHERE name = ? AND dropped_lsn IS NULL", (name,)
        ).fetchone()
        is not None
    )


def _retire(connection: sqlite3.Connection, index: IndexId) -> None:
    connection.execute("UPDATE generations SET state = 'retired' WHERE index_id = ?", (index,))


def _forget(state: State, index: IndexState) -> None:
    """In the turn of the drop: no new search uses it, a build of it ends."""
    state.indexes.pop(index.row.id, None)
    state.captured.pop(index.row.id, None)
    if index.active is None and index.row.active is not None:  # it was damaged, and never loaded
        state.abandoned.append(index.row.active)
    for generation in (*index.kept, index.active):
        if generation is not None:
            generation.row = replace(generation.row, state="retired")
            state.retired.append(generation)
    index.kept, index.active = [], None
    state.wake_writers()
    state.give_up(index)
    build = state.builds.get(index.row.id)
    if build is not None:
        build.end("cancelled")
