"""The players: tasks that write the same few rows, read them in every way, and note it all.

The table `t` has a few rows that everybody wants. The table `ring` names in each row the next:
writers exchange neighbours, and whoever looks at all of it must see one ring.
"""

import itertools
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

import trio

from centroidb import Database, RebuildRejected
from tests.anomalies.upheaval import UPHEAVALS, rebuild
from tests.model.world import require_by_recall

from ..steps import DIM
from .attempt import Attempt, attempt, found_in, put, rows_in
from .beside import Beside
from .history import Finding, History, Item, Sight, Wish

TABLE, RING = "t", "ring"
KEYS = 12
QUERIES = 30
STEPS_MAX = 5
"""Of a transaction."""
LOOKS_MAX = 4
"""Through one snapshot."""
UPHEAVALS_MIN = 4
"""Of a history."""


@dataclass
class Game:
    """One database, its history, and what the players share."""

    database: Database
    history: History
    numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))
    over: trio.Event = field(default_factory=trio.Event)
    """Set when the writers have ended."""

    def number(self, following: int = 0) -> int:
        """A number nobody has used; of a row in the ring, with the key that follows."""
        return next(self.numbers) * KEYS + following


def one_ring(rows: Mapping[int, int]) -> bool:
    """Whether going from row to row comes through all of them."""
    at = 0
    seen: set[int] = set()
    while at in rows.keys() - seen:
        seen.add(at)
        at = rows[at] % KEYS
    return at == 0 and len(seen) == len(rows) == KEYS


async def begun(database: Database) -> Game:
    """Both tables, filled and indexed, with a build to go back to."""
    rows = {key: (key + 1) % KEYS for key in range(KEYS)}
    for name in (TABLE, RING):
        table = await database.create_table(name, dim=DIM)
        await put(table, rows)
        await table.create_index(name, nlist=2, parallel=1)
        await rebuild(database, name)
    state = {(name, key): number for name in (TABLE, RING) for key, number in rows.items()}
    return Game(database, History((await database.statistics()).lsn, state))


class Writer:
    """Writes outside of transactions and in them, and reads in them."""

    def __init__(self, game: Game, chance: random.Random) -> None:
        self._game = game
        self._chance = chance

    async def play(self, calls: int) -> None:
        """So many calls, and more until there were some upheavals."""
        for number in itertools.count():
            if number >= calls and self._game.history.upheavals >= UPHEAVALS_MIN:
                return
            await self._chance.choice([self._write, self._exchange, *[self._transact] * 3])()

    def _keys(self) -> list[int]:
        return self._chance.sample(range(KEYS), self._chance.randint(1, 3))

    async def _write(self) -> None:
        """One commit without a snapshot."""
        history, keys = self._game.history, self._keys()
        before, table = history.known, await self._game.database.table(TABLE)
        writes: dict[Item, int | None]
        if self._chance.random() < 0.3:
            result = await table.delete(keys)
            writes = {(TABLE, key): None for key in keys}
        else:
            rows = {key: self._game.number() for key in keys}
            result = await put(table, rows)
            writes = {(TABLE, key): number for key, number in rows.items()}
        history.commit(result.lsn, Wish(before=before, snapshot=None, writes=writes))

    async def _transact(self) -> None:
        """Some rows are read, and some, perhaps others, are written."""
        game, chance = self._game, self._chance
        async with attempt(
            game.database, game.history, serializable=chance.random() < 0.5
        ) as transaction:
            for _ in range(chance.randint(1, STEPS_MAX)):
                await self._step(transaction)

    async def _step(self, transaction: Attempt) -> None:
        kind = self._chance.choices(("get", "scan", "search", "put", "delete"), (2, 1, 1, 3, 1))[0]
        if kind == "get":
            await transaction.get(TABLE, self._keys())
        elif kind == "scan":
            await transaction.scan(TABLE)
        elif kind == "search":
            await transaction.search(TABLE, self._chance.randrange(QUERIES))
        elif kind == "put":
            await transaction.put(TABLE, {key: self._game.number() for key in self._keys()})
        else:
            await transaction.delete(TABLE, self._keys())

    async def _exchange(self) -> None:
        """Two neighbours of the ring change places."""
        game, first = self._game, self._chance.randrange(KEYS)
        async with attempt(game.database, game.history) as transaction:

            async def after(key: int) -> int:
                return (await transaction.get(RING, [key]))[key] % KEYS

            second = await after(first)
            third = await after(second)
            links = {first: third, third: second, second: await after(third)}
            await transaction.put(RING, {key: game.number(link) for key, link in links.items()})


async def look(game: Game, chance: random.Random) -> None:
    """Snapshots are held for a while, and looked through in every way."""
    history = game.history
    while not game.over.is_set():
        before = history.known
        async with game.database.snapshot() as snapshot:
            for _ in range(chance.randint(1, LOOKS_MAX)):
                lsn, table = snapshot.lsn, chance.choice((TABLE, RING))
                rows = await rows_in(snapshot, table)
                history.sights.append(Sight(before=before, lsn=lsn, table=table, rows=rows))
                found = await found_in(snapshot, table, chance.randrange(QUERIES))
                history.findings.append(Finding(before=before, lsn=lsn, **found))
                for _ in range(chance.randrange(40)):
                    await trio.lowlevel.checkpoint()


async def look_from(beside: Beside, game: Game, chance: random.Random) -> None:
    """The same, by another process."""
    while not game.over.is_set():
        before, table = game.history.known, chance.choice((TABLE, RING))
        seen = await beside.ask(table, chance.randrange(QUERIES))
        game.history.sights.append(Sight(before=before, lsn=seen.lsn, table=table, rows=seen.rows))
        game.history.findings.append(Finding(before=before, lsn=seen.lsn, **seen.found))


async def upheave(game: Game, chance: random.Random) -> None:
    """Folds, rebuilds, rollbacks, reorganizations and vacuums go on all the while."""
    while not game.over.is_set():
        try:
            await chance.choice(UPHEAVALS)(game.database, chance.choice((TABLE, RING)))
        except RebuildRejected as rejection:
            require_by_recall(rejection)
        game.history.upheavals += 1


async def write(game: Game, chances: list[random.Random], calls: int) -> None:
    """A writer for each of these; then the game is over."""
    async with trio.open_nursery() as nursery:
        for chance in chances:
            nursery.start_soon(partial(Writer(game, chance).play, calls))
    game.over.set()
