"""All that a file answers: every row, and searches through every index and without one."""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from centroidb import ActorDied, Database, NotFoundError, Row, Snapshot, StorageError, open_db
from tests.support.databases import SMALL

from .victims import queries

K = 12
TABLES = {"ints": ("flat", "sq8"), "texts": ("words",)}
"""Each table and its indexes."""
SOME: dict[str, list[int] | list[str]] = {
    "ints": [1, 15, 50, 102, 200],
    "texts": ["k1é", "new", "k30é"],
}
"""Keys that are asked for one by one: with and without a row, written again, deleted."""

Answers = dict[str, object]
"""What was asked -> what was answered; nothing where the answer was a typed error."""


@dataclass
class Reading:
    """What a file answered, and how often it said that it is damaged."""

    answers: Answers = field(default_factory=dict)
    said: Counter[str] = field(default_factory=Counter)
    asked: Counter[str] = field(default_factory=Counter)
    skips: Callable[[], bool] = field(kw_only=True)
    """Whether a search, or a look at some keys, is left out: so many files are tried instead."""

    async def ask(self, what: str, question: Callable[[], Awaitable[object]]) -> None:
        """Note the answer, or that it was a typed error."""
        if not what.startswith("rows") and self.skips():
            return
        self.asked[what.split()[0]] += 1
        with refused(self.say):
            try:
                self.answers[what] = await question()
            except NotFoundError as error:
                self.answers[what] = repr(error)

    def say(self, error: str) -> None:
        """A typed error came."""
        self.said[error] += 1


@contextmanager
def refused(note: Callable[[str], None] = lambda _: None) -> Iterator[None]:
    """A damaged file may be refused with a typed error; `note` gets its name, or MemoryError."""
    try:
        yield
    except ActorDied:
        raise
    except StorageError as error:
        told = error.__cause__ if isinstance(error.__cause__, MemoryError) else error
        note(type(told).__name__)


def never() -> bool:
    """Leave nothing out."""
    return False


async def read(path: Path, skips: Callable[[], bool] = never, **options: Any) -> Reading:
    """Ask the file everything, but for what is left out."""
    reading = Reading(skips=skips)
    with refused(reading.say):
        async with open_db(path, limits=SMALL, on_open="keep", mode="open", **options) as database:
            await ask_all(database, reading)
    return reading


async def ask_all(database: Database, reading: Reading) -> None:
    """In one snapshot: every row by iteration, some by key, and the searches."""
    async with database.snapshot() as snapshot:
        for table, indexes in TABLES.items():
            await reading.ask(f"rows of {table}", partial(_rows, snapshot, table))
            await reading.ask(f"some of {table}", partial(_some, snapshot, table))
            for index in (None, *indexes):
                asked = f"search {table} {index or 'exactly'}"
                await reading.ask(asked, partial(_search, snapshot, table, index))


async def _rows(snapshot: Snapshot, table: str) -> object:
    return [_row(row) async for row in snapshot.iterate(table, vectors=True)]


async def _some(snapshot: Snapshot, table: str) -> object:
    return [row and _row(row) for row in await snapshot.get(table, SOME[table], vectors=True)]


def _row(row: Row) -> object:
    return row.id, row.payload, None if row.vector is None else row.vector.tobytes()


async def _search(snapshot: Snapshot, table: str, index: str | None) -> object:
    found = await snapshot.search(
        table, queries(), K, index=index, nprobe=1_000, exact=index is None
    )
    return [(hits.ids, hits.distances.tobytes(), [hit.payload for hit in hits]) for hits in found]
