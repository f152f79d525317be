"""Upheavals: what the database does to its indexes while others read and write.

None of them is a commit, so none may change an answer, or which commit is refused.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from unittest.mock import patch

from centroidb import Database, NotFoundError
from centroidb.engine.index import reorganize as policy

INDEX = "upheaval"


async def fold(db: Database, index: str) -> None:
    """Write the rows that the index has in memory as segments."""
    supervisor = db._source.supervisor()
    for state in supervisor.state.indexes.values():
        if state.row.name == index and state.active is not None:
            await supervisor.indexer.fold(state.active)


async def rebuild(db: Database, index: str) -> None:
    """Another build, with another number of partitions, takes over."""
    made = await db.index(index)
    await made.rebuild(nlist=1 + len(await made.partitions()) % 3, keep_previous=1, parallel=1)


async def rollback(db: Database, index: str) -> None:
    """The build before takes over again."""
    await (await db.index(index)).rollback()


async def reorganize(db: Database, index: str) -> None:
    """Partitions are split and merged, by bounds so narrow that hardly one lies within."""
    made = await db.index(index)
    with patch.multiple(policy, OVERGROWN=1.5, STARVING=0.9):
        await made.reorganize()


async def vacuum(db: Database, _: str) -> None:
    """Everything is folded, what nobody sees is purged, segments are compacted."""
    await db.vacuum()


Upheaval = Callable[[Database, str], Awaitable[None]]

UPHEAVALS: tuple[Upheaval, ...] = (fold, rebuild, rollback, reorganize, vacuum)


async def prepare(db: Database, table: str) -> None:
    """An index that upheavals can befall, with a build to go back to. It takes one LSN."""
    await (await db.table(table)).create_index(INDEX, nlist=2, parallel=1)
    await rebuild(db, INDEX)


async def befall(db: Database, upheaval: Upheaval) -> None:
    """Let it happen, unless the script has dropped the table and the index with it."""
    with suppress(NotFoundError):
        await db.index(INDEX)
        await upheaval(db, INDEX)
