"""What children do: own a database and change it all the time, or only hold it.

The accounts are rows whose payloads are amounts of money. Every transaction moves
some from one to another, so the sum is the same in each committed state. A row's
vector says what its amount is, so that an index that is behind would be seen too.
"""

from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

import numpy as np
import trio
from numpy.typing import NDArray

from centroidb import Database, LockedError, RebuildRejected, Table, open_db
from tests.support.databases import SMALL

ACCOUNTS: Final = 120
AMOUNT: Final = 1_000
DIM: Final = 3


@dataclass(frozen=True)
class Made:
    """What the owner has done so far."""

    commits: int
    rebuilds: int


def vector(account: int, amount: int) -> NDArray[np.float32]:
    """The vector of an account with that amount."""
    random = np.random.default_rng(account)
    return np.array([*random.normal(0, 300, DIM - 1), amount], np.float32)


async def make_accounts(path: Path | str) -> None:
    """A file with all accounts, indexed."""
    async with open_db(path, limits=SMALL) as db:
        table = await db.create_table("accounts", dim=DIM)
        vectors = np.array([vector(account, AMOUNT) for account in range(ACCOUNTS)])
        await table.upsert(range(ACCOUNTS), vectors, [AMOUNT] * ACCOUNTS)
        await table.create_index("ix", nlist=6)


def own(path: str, pipe: Connection) -> None:
    """Move money, rebuild and vacuum until a message comes; then close."""
    trio.run(_own, path, pipe)
    pipe.send("closed")


async def _own(path: str, pipe: Connection) -> None:
    made = {"commits": 0, "rebuilds": 0}
    async with open_db(path, limits=SMALL) as db, trio.open_nursery() as nursery:
        pipe.send("open")
        nursery.start_soon(_move, db, made)
        nursery.start_soon(_rebuild, db, made)
        nursery.start_soon(_vacuum, db)
        while await trio.to_thread.run_sync(pipe.recv) != "stop":
            pipe.send(Made(**made))
        nursery.cancel_scope.cancel()


async def _move(db: Database, made: dict[str, int]) -> None:
    random = np.random.default_rng(made["commits"])
    while True:
        await move(db, random)
        made["commits"] += 1


async def move(db: Database, random: np.random.Generator) -> None:
    """Move some money from one account to another, in one transaction."""
    giver, taker = random.choice(ACCOUNTS, 2, replace=False).tolist()
    async with db.transaction() as transaction:
        rows = await transaction.get("accounts", [giver, taker])
        amount = int(random.integers(0, rows[0].payload + 1))
        left, grown = rows[0].payload - amount, rows[1].payload + amount
        vectors = np.array([vector(giver, left), vector(taker, grown)])
        await transaction.upsert("accounts", [giver, taker], vectors, [left, grown])


async def _rebuild(db: Database, made: dict[str, int]) -> None:
    index = await db.index("ix")
    while True:
        with suppress(RebuildRejected):
            await index.rebuild(nlist=4 + made["rebuilds"] % 4)
        made["rebuilds"] += 1


async def _vacuum(db: Database) -> None:
    while True:
        await db.vacuum()


def rebuild_slowly(path: str, pipe: Connection) -> None:
    """Rebuild at some rows a second until a message comes; then pause, and close."""

    async def building() -> None:
        async with open_db(path, limits=SMALL) as db:
            index = await db.index("ix")
            async with index.rebuilding(throttle=ACCOUNTS) as job:
                await anext(aiter(job))
                pipe.send("building")
                await trio.to_thread.run_sync(pipe.recv)
                await job.pause()

    trio.run(building)
    pipe.send("closed")


def hold(path: str, pipe: Connection) -> None:
    """Open for writing and do nothing until a message comes."""

    async def holding() -> None:
        async with open_db(path):
            pipe.send("open")
            await trio.to_thread.run_sync(pipe.recv)

    trio.run(holding)
    pipe.send("closed")


def try_to_own(path: str, pipe: Connection) -> None:
    """Say why the file can not be opened for writing; "opened" when it can."""

    async def trying() -> str:
        try:
            async with open_db(path):
                return "opened"
        except LockedError as error:
            return str(error)

    pipe.send(trio.run(trying))


async def total(table: Table) -> int:
    """All money there is."""
    return sum([row.payload async for row in table.iterate()])
