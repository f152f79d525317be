"""All that a file answers: every row, and searches through every index and without one."""

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from centroidb import Database, StorageError, open_db
from tests.support.databases import SMALL

from .victims import queries

K = 12
TABLES = {"ints": ("flat", "sq8"), "texts": ("words",)}
"""Each table and its indexes."""

Answers = dict[str, object]
"""What was asked -> what was answered; nothing where the answer was a typed error."""


@dataclass
class Reading:
    """What a file answered, and how often it said that it is damaged."""

    answers: Answers = field(default_factory=dict)
    said: Counter[str] = field(default_factory=Counter)

    async def ask(self, what: str, question: Callable[[], Awaitable[object]]) -> None:
        """Note the answer, or that it was a typed error."""
        try:
            self.answers[what] = await question()
        except StorageError as error:
            self.said[type(error).__name__] += 1


async def read(path: Path, **options: Any) -> Reading:
    """Ask the file everything."""
    reading = Reading()
    try:
        async with open_db(path, limits=SMALL, on_open="keep", mode="open", **options) as database:
            await ask_all(database, reading)
    except StorageError as error:
        reading.said[type(error).__name__] += 1
    return reading


async def ask_all(database: Database, reading: Reading) -> None:
    """Every row by iteration, some by key, and the searches."""
    for table, indexes in TABLES.items():
        await reading.ask(f"rows of {table}", lambda name=table: _rows(database, name))
        await reading.ask(f"some of {table}", lambda name=table: _some(database, name))
        for index in (None, *indexes):
            await reading.ask(
                f"search {table} {index}",
                lambda name=table, by=index: _search(database, name, by),
            )


async def _rows(database: Database, name: str) -> object:
    table = await database.table(name)
    rows = [row async for row in table.iterate(vectors=True)]
    return [(row.id, row.payload, _bytes(row.vector)) for row in rows]


async def _some(database: Database, name: str) -> object:
    table = await database.table(name)
    keys: list[Any] = ["k1é", "new", "k30é"] if name == "texts" else [1, 15, 50, 102, 200]
    return [row and (row.id, row.payload, _bytes(row.vector)) for row in await table.get(keys)]


def _bytes(vector: Any) -> bytes | None:
    return None if vector is None else vector.tobytes()


async def _search(database: Database, name: str, index: str | None) -> object:
    table = await database.table(name)
    found = await table.search(queries(), K, index=index, nprobe=1_000, exact=index is None)
    return [(hits.ids, hits.distances.tobytes(), [hit.payload for hit in hits]) for hits in found]
