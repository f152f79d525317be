"""Children killed at random moments, and in the middle of chosen ones.

CENTROIDB_KILLS children are killed, by default 50; CENTROIDB_SEED chooses the moments.
"""

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from pathlib import Path

import numpy as np
import pytest
import trio

from centroidb import Database
from centroidb.engine.index.distance import distances
from tests.processes.children import started
from tests.support.databases import SMALL, checked_db, resumed
from tests.support.leftovers import leftovers

from .child import AIMS, Job, child, prepare
from .plan import DIM, KEYS, WRITERS, State, deed, vector

KILLS = int(os.environ.get("CENTROIDB_KILLS", "50"))
SEED = int(os.environ.get("CENTROIDB_SEED", "1"))
FILES = 5
ACKNOWLEDGED_MAX = 60
LATER_MAX_S = 0.05


class Expected:
    """What must be in a file, writer by writer."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.first = [0] * WRITERS
        self.states: list[State] = [{} for _ in range(WRITERS)]

    def settle(self, messages: list[bytes], found: dict[int, int]) -> None:
        """Deeds that were acknowledged are in the file; one under way is, or not, or its head."""
        begun, done = list(self.first), list(self.first)
        for message in messages:
            what, who, number = message.decode().split()
            (begun if what == "s" else done)[int(who)] = int(number) + 1
        for writer in range(WRITERS):
            state = self.states[writer]
            for acknowledged in range(self.first[writer], done[writer]):
                state = deed(self.seed, writer, acknowledged).outcomes(state)[-1]
            allowed = [state]
            if begun[writer] > done[writer]:
                allowed = deed(self.seed, writer, done[writer]).outcomes(state)
            keys = range(writer * KEYS, writer * KEYS + KEYS)
            mine = {key: row for key, row in found.items() if key in keys}
            assert mine in allowed, f"writer {writer}: deeds up to {done[writer]} acknowledged"
            self.states[writer] = mine
            self.first[writer] = begun[writer]


@pytest.mark.parametrize("file", range(FILES))
def test_what_was_acknowledged_survives_a_kill(file: int, tmp_path: Path) -> None:
    """After every kill all that was acknowledged is there, whole, and nothing else."""
    seed = SEED * 1_000 + file
    random = np.random.default_rng(seed)
    path = tmp_path / "killed.db"
    prepare(str(path))
    expected = Expected(seed)
    for kill in range(file, KILLS, FILES):
        aim = AIMS[(kill // 2) % len(AIMS)] if kill % 2 else None
        with noted(f"kill {kill}, {aim}; CENTROIDB_SEED={SEED}"):
            messages = killed(Job(str(path), seed, list(expected.first), aim), random)
            recovered = path if random.random() < 0.5 else copy(path)
            expected.settle(messages, trio.run(examine, recovered))


@contextmanager
def noted(note: str) -> Iterator[None]:
    """A failure inside says how it can be repeated."""
    try:
        yield
    except BaseException as error:
        error.add_note(note)
        raise


def killed(job: Job, random: np.random.Generator) -> list[bytes]:
    """Run a child until it is killed; returns what it has said."""
    with started(child, job) as (process, pipe):
        if job.aim is None:
            messages = listen(pipe, int(random.integers(1, ACKNOWLEDGED_MAX)))
            wait([process.sentinel], random.uniform(0, LATER_MAX_S))
            process.kill()
        else:
            messages = []
        messages += listen(pipe)
        process.join()
        assert process.exitcode == -signal.SIGKILL, f"it was not killed: {job.aim}"
    return messages


def listen(pipe: Connection, count: int = 1 << 30) -> list[bytes]:
    """What a child says, until so many deeds are acknowledged, or it is dead."""
    messages: list[bytes] = []
    while count:
        try:
            messages.append(pipe.recv_bytes())
        except EOFError:
            break
        count -= messages[-1].startswith(b"a")
    return messages


def copy(path: Path) -> Path:
    """The file as it was left, so that the next child finds it like this too."""
    for suffix in ("", "-wal"):
        shutil.copy(f"{path}{suffix}", f"{path}.copy{suffix}")
    return Path(f"{path}.copy")


async def examine(path: Path) -> dict[int, int]:
    """Recover the file, prove it sound, and read the writers' rows: key -> vector number."""
    async with checked_db(path, limits=SMALL) as db:
        rows: dict[int, int] = {}
        table = await db.table("t")
        async for row in table.iterate(vectors=True):
            key = int(row.id)
            rows[key] = row.payload["number"] if key >= 0 else key + 1_000
            assert row.vector is not None
            assert row.vector.tobytes() == vector(rows[key]).tobytes()
        await search(db, rows)
        await resumed(db)
        assert [job for job in await db.jobs() if job.state == "running"] == []
        await db.vacuum()
        assert await leftovers(db) == []
        await search(db, rows)
    return {key: number for key, number in rows.items() if key >= 0}


async def search(db: Database, rows: dict[int, int]) -> None:
    """All partitions give what brute force over all rows gives, bit for bit."""
    table = await db.table("t")
    vectors = np.array([vector(number) for number in rows.values()])
    queries = np.array([vector(-at + 10_000) for at in range(4)]).reshape(4, DIM)
    for query, hits in zip(queries, await table.search(queries, 10, nprobe=1_000), strict=True):
        measured = np.sort(distances("l2", query, vectors))[:10]
        assert hits.distances.tobytes() == measured.tobytes()
        assert hits.partitions_probed > 0
        exact = await table.search(query, 10, exact=True)
        assert (exact.ids, exact.distances.tobytes()) == (hits.ids, hits.distances.tobytes())
