"""Every public call, by name: what it needs, and the call itself within `scene.cut()`.

A name with a colon is another way to make the call that is before it.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from centroidb import Database, Index, Job, RebuildRejected, Snapshot, Table, Transaction, open_db
from tests.model.world import require_by_recall

from ..histories.attempt import EVERY, put
from ..oracle import Bad
from ..steps import CROWDED, DIM, QUERY, ROWS_A_COMMIT, vector
from .scene import INDEX, ROWS, TABLE, Scene

Call = Callable[[Scene], Awaitable[None]]

CALLS: dict[str, Call] = {}
OTHER = "other"
"""A table or an index that comes and goes."""


def call(name: str) -> Callable[[Call], Call]:
    """The function below makes this call."""

    def noted(made: Call) -> Call:
        CALLS[name] = made
        return made

    return noted


# The database.


@call("Database.backup")
async def _(scene: Scene) -> None:
    """A copy that was cut off is not there, or whole."""
    copy = scene.folder / "copy.db"
    with scene.cut():
        await scene.database.backup(copy)
    if copy.exists():
        async with open_db(copy, read_only=True) as database:
            if (await database.check()).errors:
                raise Bad("a copy that was cut off is not whole")
        copy.unlink()
    elif not scene.cut_off:
        raise Bad("there is no copy")


@call("Database.create_table")
async def _(scene: Scene) -> None:
    with scene.cut():
        await scene.database.create_table(OTHER, dim=2)
    await scene.database.drop_table(OTHER, if_exists=scene.cut_off)


@call("Database.drop_table")
async def _(scene: Scene) -> None:
    table = await scene.database.create_table(OTHER, dim=DIM)
    await put(table, {key: key for key in range(20)})
    await table.create_index(f"{OTHER}s", nlist=1)
    with scene.cut():
        await scene.database.drop_table(OTHER)
    await scene.database.drop_table(OTHER, if_exists=True)


@call("Database.drop_index")
async def _(scene: Scene) -> None:
    await (await scene.table()).create_index(OTHER, nlist=1)
    with scene.cut():
        await scene.database.drop_index(OTHER)
    await scene.database.drop_index(OTHER, if_exists=True)


@call("Database.execute")
async def _(scene: Scene) -> None:
    await (await scene.table()).create_index(OTHER, nlist=1)
    with scene.cut():
        await scene.database.execute(f"DROP INDEX {OTHER}")
    await scene.database.drop_index(OTHER, if_exists=True)


@call("Database.snapshot")
async def _(scene: Scene) -> None:
    with scene.cut():
        async with scene.database.snapshot() as snapshot:
            await snapshot.count(TABLE)


@call("Database.transaction")
async def _(scene: Scene) -> None:
    rows = scene.written()
    with scene.cut():
        async with scene.database.transaction() as transaction:
            await put(transaction, rows, TABLE)


def _asked(name: str, ask: Callable[[Database], Awaitable[object]]) -> None:
    @call(f"Database.{name}")
    async def _(scene: Scene) -> None:
        with scene.cut():
            await ask(scene.database)


_asked("check", lambda database: database.check())
_asked("decisions", lambda database: database.decisions())
_asked("index", lambda database: database.index(INDEX))
_asked("indexes", lambda database: database.indexes())
_asked("jobs", lambda database: database.jobs())
_asked("space", lambda database: database.space())
_asked("statistics", lambda database: database.statistics())
_asked("table", lambda database: database.table(TABLE))
_asked("tables", lambda database: database.tables())


@call("Database.vacuum")
async def _(scene: Scene) -> None:
    """There is a delta to fold each time, and there are versions to purge."""
    await put(await scene.table(), {key: scene.rows[key] for key in range(10, 20)})
    with scene.cut():
        await scene.database.vacuum()


# A table.


@call("Table.upsert")
async def _(scene: Scene) -> None:
    table, rows = await scene.table(), scene.written()
    with scene.cut():
        await put(table, rows)


@call("Table.upsert:many")
async def _(scene: Scene) -> None:
    """Cut into commits in order."""
    table, rows = await scene.table(), scene.written(ROWS_A_COMMIT * 2 + 1)
    with scene.cut():
        await put(table, rows)


@call("Table.upsert:held")
async def _(scene: Scene) -> None:
    """Others have gone before, at the brake of a build that catches up."""
    table, rows = await scene.table(), scene.written()
    async with scene.braked():
        with scene.cut():
            await put(table, rows)


async def _to_insert(scene: Scene, table: Table) -> dict[int, int]:
    """Rows that the call writes, none of which is there."""
    await table.delete([1, 2, *range(ROWS, ROWS + 7)])
    scene.rows = {k: n for k, n in scene.rows.items() if 2 < k < ROWS or not k}
    return scene.written()


@call("Table.insert")
async def _(scene: Scene) -> None:
    table = await scene.table()
    rows = await _to_insert(scene, table)
    with scene.cut():
        await table.insert(list(rows), *_columns(rows))


@call("Table.update_payloads")
async def _(scene: Scene) -> None:
    table = await scene.table()
    with scene.cut():
        await table.update_payloads([3, 4], [{"number": scene.rows[key]} for key in (3, 4)])


@call("Table.delete")
async def _(scene: Scene) -> None:
    table = await scene.table()
    await put(table, {5: 5, 6: 6})
    scene.rows |= {5: 5, 6: 6}
    keys = scene.deleted()
    with scene.cut():
        await table.delete(keys)


@call("Table.create_index")
async def _(scene: Scene) -> None:
    table = await scene.table()
    with scene.cut():
        await table.create_index(OTHER, nlist=2)
    await scene.database.drop_index(OTHER, if_exists=scene.cut_off)


def _of_table(name: str, ask: Callable[[Table], Awaitable[object]]) -> None:
    @call(f"Table.{name}")
    async def _(scene: Scene) -> None:
        table = await scene.table()
        with scene.cut():
            await ask(table)


_of_table("count", lambda table: table.count())
_of_table("get", lambda table: table.get(range(ROWS), vectors=True))
_of_table("index", lambda table: table.index(INDEX))
_of_table("iterate", lambda table: _all(table.iterate(vectors=True)))
_of_table("search", lambda table: table.search([vector(QUERY), vector(QUERY + 1)], nprobe=EVERY))
_of_table("statistics", lambda table: table.statistics())


async def _all(rows: Any) -> None:
    async for _ in rows:
        pass


def _columns(rows: dict[int, int]) -> tuple[list[Any], list[Any]]:
    numbers = list(rows.values())
    return [vector(number) for number in numbers], [{"number": number} for number in numbers]


# A snapshot, which goes on, and a transaction, which is committed afterwards.


def _of_snapshot(name: str, ask: Callable[[Snapshot], Awaitable[object]]) -> None:
    @call(f"Snapshot.{name}")
    async def _(scene: Scene) -> None:
        async with scene.database.snapshot() as snapshot:
            before = await snapshot.count(TABLE)
            with scene.cut():
                await ask(snapshot)
            if await snapshot.count(TABLE) != before:
                raise Bad("the snapshot has changed")


_of_snapshot("count", lambda snapshot: snapshot.count(TABLE))
_of_snapshot("get", lambda snapshot: snapshot.get(TABLE, range(ROWS)))
_of_snapshot("iterate", lambda snapshot: _all(snapshot.iterate(TABLE)))
_of_snapshot("search", lambda snapshot: snapshot.search(TABLE, vector(QUERY)))


def _of_transaction(name: str, ask: Callable[[Transaction], Awaitable[object]]) -> None:
    @call(f"Transaction.{name}")
    async def _(scene: Scene) -> None:
        async with scene.database.transaction() as transaction:
            with scene.cut():
                await ask(transaction)
            await transaction.count(TABLE)


_of_transaction("count", lambda transaction: transaction.count(TABLE))
_of_transaction("get", lambda transaction: transaction.get(TABLE, range(ROWS)))
_of_transaction("iterate", lambda transaction: _all(transaction.iterate(TABLE)))
_of_transaction("search", lambda transaction: transaction.search(TABLE, vector(QUERY)))


@call("Transaction.upsert")
async def _(scene: Scene) -> None:
    rows = scene.written()
    async with scene.database.transaction() as transaction:
        with scene.cut():
            await put(transaction, rows, TABLE)


@call("Transaction.insert")
async def _(scene: Scene) -> None:
    table = await scene.table()
    rows = await _to_insert(scene, table)
    async with scene.database.transaction() as transaction:
        with scene.cut():
            await transaction.insert(TABLE, list(rows), *_columns(rows))


@call("Transaction.update_payloads")
async def _(scene: Scene) -> None:
    async with scene.database.transaction() as transaction:
        with scene.cut():
            await transaction.update_payloads(TABLE, [3], [{"number": scene.rows[3]}])


@call("Transaction.delete")
async def _(scene: Scene) -> None:
    await put(await scene.table(), {5: 5, 6: 6})
    scene.rows |= {5: 5, 6: 6}
    keys = scene.deleted()
    async with scene.database.transaction() as transaction:
        with scene.cut():
            await transaction.delete(TABLE, keys)


@call("Transaction.commit")
async def _(scene: Scene) -> None:
    rows = scene.written()
    async with scene.database.transaction() as transaction:
        await put(transaction, rows, TABLE)
        with scene.cut():
            await transaction.commit()


# An index, and its builds.


def _of_index(name: str, ask: Callable[[Index], Awaitable[object]]) -> None:
    @call(f"Index.{name}")
    async def _(scene: Scene) -> None:
        index = await scene.index()
        with scene.cut():
            await ask(index)


_of_index("alter", lambda index: index.alter(keep_previous=2))
_of_index("explain_rebuild", lambda index: index.explain_rebuild())
_of_index("partition_of", lambda index: index.partition_of(range(ROWS)))
_of_index("partitions", lambda index: index.partitions())
_of_index("rollback", lambda index: index.rollback())
_of_index("statistics", lambda index: index.statistics())


@call("Index.reorganize")
async def _(scene: Scene) -> None:
    """A crowd has come to one of four partitions since the build."""
    table = await scene.database.create_table(OTHER, dim=DIM)
    rows = {key: key for key in range(20)}
    await put(table, rows)
    index = await table.create_index(f"{OTHER}s", nlist=4, parallel=1)
    crowd = {key: CROWDED + key for key in range(20, 60)}
    await put(table, crowd)
    done = None
    with scene.cut():
        done = await index.reorganize(parallel=1)
    if done is not None and not done.split:
        raise Bad("there was nothing to reorganize")
    if await rows_in_index(table, 100) != rows.keys() | crowd.keys():
        raise Bad("the index has lost rows")
    await scene.database.drop_table(OTHER)


async def rows_in_index(table: Table, k: int) -> set[int]:
    """The keys of up to `k` rows that a search of every partition finds."""
    return set((await table.search(vector(QUERY), k, nprobe=EVERY)).ids)


@contextmanager
def _rejections() -> Iterator[None]:
    """A build may find less than the one before, with as few rows as there are."""
    try:
        yield
    except RebuildRejected as rejection:
        require_by_recall(rejection)


@call("Index.rebuild")
async def _(scene: Scene) -> None:
    index = await scene.index()
    with scene.cut(), _rejections():
        await index.rebuild(nlist=3, parallel=2)


@call("Index.rebuilding")
async def _(scene: Scene) -> None:
    index = await scene.index()
    with scene.cut(), _rejections():
        async with index.rebuilding(nlist=3, parallel=1) as job:
            await _all(job)


@asynccontextmanager
async def _paused(scene: Scene) -> AsyncIterator[Index]:
    """A rebuild that rests."""
    index = await scene.index()
    async with index.rebuilding(nlist=3, parallel=1) as job:
        await job.pause()
    yield index


@call("Index.resume_rebuild")
async def _(scene: Scene) -> None:
    async with _paused(scene) as index:
        with scene.cut(), _rejections():
            await index.resume_rebuild()


@call("Index.resuming")
async def _(scene: Scene) -> None:
    async with _paused(scene) as index:
        with scene.cut(), _rejections():
            async with index.resuming() as job:
                await _all(job)


@call("Index.abort_rebuild")
async def _(scene: Scene) -> None:
    async with _paused(scene) as index:
        with scene.cut():
            await index.abort_rebuild()


@asynccontextmanager
async def _running(scene: Scene) -> AsyncIterator[Job]:
    """A rebuild that runs, and is cancelled in the end."""
    index = await scene.index()
    async with index.rebuilding(nlist=3, parallel=1) as job:
        yield job
        job.cancel()


@call("Index.pause_rebuild")
async def _(scene: Scene) -> None:
    async with _running(scene):
        index = await scene.index()
        with scene.cut():
            await index.pause_rebuild()


@call("Job.begun")
async def _(scene: Scene) -> None:
    async with _running(scene) as job:
        with scene.cut():
            await job.begun()


@call("Job.pause")
async def _(scene: Scene) -> None:
    async with _running(scene) as job:
        with scene.cut():
            await job.pause()


@call("Job.wait")
async def _(scene: Scene) -> None:
    async with _running(scene) as job:
        with scene.cut(), _rejections():
            await job.wait()


READS = {
    *(f"Database.{name}" for name in ("backup", "check", "decisions", "index", "indexes")),
    *(f"Database.{name}" for name in ("jobs", "snapshot", "space", "statistics", "table")),
    "Database.tables",
    *(f"Table.{name}" for name in ("count", "get", "index", "iterate", "search", "statistics")),
    *(f"Snapshot.{name}" for name in ("count", "get", "iterate", "search")),
    *(f"Index.{name}" for name in ("explain_rebuild", "partition_of", "partitions", "statistics")),
}
"""Those that a file opened read-only answers too; the others it refuses at once."""
