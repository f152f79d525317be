"""The child: writes, rebuilds and vacuums until it is killed, and says what it has done.

    pipe    s 0 17    writer 0 begins its deed 17
            a 0 17    it was acknowledged

Each message is one write to a pipe, which outlives the process. An aim makes the
child kill itself in the middle of something: just before the nth time the writing
connection runs a statement like the last of its patterns, after the earlier ones.
"""

import os
import re
import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection

import numpy as np
import trio

from centroidb import Database, RebuildRejected, open_db
from tests.support.databases import SMALL, resumed

from .plan import WRITERS, Deed, deed, vector

DEEDS_MAX = 2_000
"""A child that was not killed by then ends, and the parent complains."""


@dataclass(frozen=True)
class Aim:
    """Where a child dies."""

    name: str
    patterns: Sequence[str]
    """Statements that must come one after the other."""
    times: int = 1


@dataclass(frozen=True)
class Job:
    """What a child is to do. first: the number of each writer's first deed."""

    path: str
    seed: int
    first: Sequence[int]
    aim: Aim | None


def child(job: Job, pipe: Connection) -> None:
    """The process."""
    trio.run(live, job, pipe)


async def live(job: Job, pipe: Connection) -> None:
    """Open the file and keep all writers busy."""
    async with open_db(job.path, limits=SMALL) as db:
        if job.aim is not None:
            take_aim(db, job.aim)
        async with trio.open_nursery() as nursery:
            for writer in range(WRITERS):
                nursery.start_soon(write, db, job, writer, pipe)
            nursery.start_soon(rebuild, db)
            nursery.start_soon(vacuum, db)


def take_aim(db: Database, aim: Aim) -> None:
    """Watch the statements of the connection that writes."""
    waited_for = [re.compile(pattern) for pattern in aim.patterns] * aim.times

    def traced(statement: str) -> None:
        if waited_for[0].search(statement):
            del waited_for[0]
        if not waited_for:
            os.kill(os.getpid(), signal.SIGKILL)

    db._source.supervisor().state.file.writer.set_trace_callback(traced)


async def write(db: Database, job: Job, writer: int, pipe: Connection) -> None:
    """Do one deed after the other, saying so before and after."""
    for number in range(job.first[writer], job.first[writer] + DEEDS_MAX):
        pipe.send_bytes(b"s %d %d" % (writer, number))
        await do(db, deed(job.seed, writer, number))
        pipe.send_bytes(b"a %d %d" % (writer, number))


async def do(db: Database, wanted: Deed) -> None:
    """One deed."""
    puts = {key: number for key, number in wanted.rows.items() if number is not None}
    deletes = [key for key, number in wanted.rows.items() if number is None]
    vectors = np.array([vector(number) for number in puts.values()])
    payloads = [{"number": number} for number in puts.values()]
    table = await db.table("t")
    if wanted.how == "upsert":
        await table.upsert(list(puts), vectors, payloads)
    elif wanted.how == "delete":
        await table.delete(deletes)
    else:
        async with db.transaction() as transaction:
            if puts:
                await transaction.upsert("t", list(puts), vectors, payloads)
            await transaction.delete("t", deletes)


async def rebuild(db: Database) -> None:
    """One rebuild after the other, to another number of partitions each time."""
    index = await db.index("i")
    await resumed(db)
    for nlist in range(DEEDS_MAX):
        with suppress(RebuildRejected):  # by its recall: another number of partitions may do
            await index.rebuild(nlist=4 + nlist % 5, parallel=2)


async def vacuum(db: Database) -> None:
    """One vacuum after the other."""
    for _ in range(DEEDS_MAX):
        await db.vacuum()


def prepare(path: str) -> None:
    """The file before the first child: a table, rows, an index."""
    trio.run(_prepare, path)


async def _prepare(path: str) -> None:
    async with open_db(path, limits=SMALL) as db:
        table = await db.create_table("t", dim=len(vector(0)))
        keys = range(-100, 0)
        await table.upsert(list(keys), np.array([vector(key + 1_000) for key in keys]))
        await table.create_index("i", nlist=6)


AIMS = [
    Aim("build", [r"INSERT INTO partitions"], 7),
    Aim("build's centroids", [r"INTO centroids"], 2),
    Aim("build's round", [r"INSERT OR REPLACE INTO slices .*'round'"], 3),
    Aim("build's assignments", [r"INSERT OR REPLACE INTO slices .*'assign'"], 2),
    Aim("build's catch-up", [r"state = 'catching_up'"]),
    Aim("build's last slices", [r"DELETE FROM slices"], 2),
    Aim("fold", [r"DELETE FROM partitions WHERE id >", r"INSERT INTO partitions"]),
    Aim("fold's seal", [r"UPDATE generations SET fold_lsn"], 2),
    Aim("swap", [r"UPDATE indexes SET active"]),
    Aim("swap's COMMIT", [r"UPDATE indexes SET active", r"^COMMIT"]),
    Aim("after a swap", [r"UPDATE indexes SET active", r"^COMMIT", r"^BEGIN"], 2),
    Aim("commit", [r"^COMMIT"], 40),
    Aim("group", [r"INSERT INTO wal"], 23),
    Aim("savepoint", [r"^RELEASE"], 31),
    Aim("compaction", [r"DELETE FROM partitions WHERE id IN"], 2),
    Aim("purge", [r"DELETE FROM dead_"], 2),
    Aim("drop of a generation", [r"DELETE FROM generations"]),
    Aim("truncation", [r"DELETE FROM wal"], 3),
    Aim("checkpoint", [r"wal_checkpoint"]),
    Aim("vacuum", [r"incremental_vacuum"], 2),
]
