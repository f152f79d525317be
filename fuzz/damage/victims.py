"""The files that are damaged: small databases with a bit of everything in them.

two tables      integer keys and text keys, payloads, ended versions
indexes         flat and sq8, folded and not, with a kept generation and captured queries
log             some records, after a truncation
closed          one file;  killed: a file and its WAL, with a build cut short and staged segments
older           the same file as it was before the last commits, for pages that were never written
"""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import trio
from numpy.typing import NDArray

from centroidb import Database, open_db
from centroidb.wal.blocking import substitute
from tests.support.databases import SMALL

from ..case import scratch
from ..disk import Image, read_image, write_image
from ..inline import inline

FILE = "victim.db"
DIM = 16
ROWS = 120
QUERIES = 2
KINDS = ("closed", "killed")


@dataclass(frozen=True)
class Victim:
    """A file, and what it was before the last commits."""

    now: Image
    before: Image


def vectors(count: int, seed: int) -> NDArray[np.float32]:
    """Vectors in a few clusters, float32 (count, DIM)."""
    chance = np.random.default_rng(seed)
    centres = chance.normal(size=(5, DIM)) * 4
    near = centres[chance.integers(5, size=count)] + chance.normal(size=(count, DIM))
    return near.astype(np.float32)


def queries() -> NDArray[np.float32]:
    """What is searched for in each file, float32 (QUERIES, DIM)."""
    return vectors(QUERIES, 99)


@cache
def victim(kind: str, seed: int) -> Victim:
    """The victim of this kind and seed, made once in a process."""
    with scratch() as folder, substitute(inline), _repeatable(seed):
        return trio.run(_made, folder, kind, seed)


@contextmanager
def _repeatable(seed: int) -> Iterator[None]:
    """Tasks take turns, and the clock goes on, in the same way each time: so do the bytes."""
    ticks = itertools.count(1_700_000_000_000_000_000, 1_000_000)
    run: Any = trio._core._run
    before = run._ALLOW_DETERMINISTIC_SCHEDULING
    run._ALLOW_DETERMINISTIC_SCHEDULING = True
    run._r.seed(seed)
    try:
        with mock.patch("time.time_ns", side_effect=ticks):
            yield
    finally:
        run._ALLOW_DETERMINISTIC_SCHEDULING = before


async def _made(folder: Path, kind: str, seed: int) -> Victim:
    path = folder / FILE
    async with open_db(path, limits=SMALL) as database:
        await _fill(database, seed)
    before = read_image(folder)
    async with open_db(path, limits=SMALL, on_open="keep") as database:
        await _change(database, seed)
        if kind == "killed":
            await _cut_short(database)
            return Victim(read_image(folder), before)
    return Victim(read_image(folder), before)


def write(files: Image, folder: Path) -> Path:
    """A folder with these files and no others; the path of the database in it."""
    write_image(files, folder)
    return folder / FILE


async def _fill(database: Database, seed: int) -> None:
    ints = await database.create_table("ints", dim=DIM)
    await ints.upsert(range(ROWS), vectors(ROWS, seed), [_payload(n) for n in range(ROWS)])
    texts = await database.create_table("texts", dim=DIM, metric="cosine", key_type="str")
    await texts.upsert([f"k{n}é" for n in range(60)], vectors(60, seed + 1))
    await ints.create_index("flat", nlist=4, codec="flat")
    await ints.create_index("sq8", nlist=3, codec="sq8", metric="dot")
    await texts.create_index("words", nlist=2, codec="sq8")
    await ints.delete(range(10, 20))


def _payload(number: int) -> dict[str, object] | None:
    return {"n": number, "s": "é" * (number % 40)} if number % 5 else None


async def _change(database: Database, seed: int) -> None:
    ints = await database.table("ints")
    await (await database.index("flat")).rebuild(nlist=5, keep_previous=1)
    await ints.upsert(range(40, 70), vectors(30, seed + 2), [{"again": n} for n in range(30)])
    for query in queries():
        await ints.search(query, 5)
    await ints.delete(range(100, 105))
    await (await database.table("texts")).upsert(["k1é", "new"], vectors(2, seed + 3))


async def _cut_short(database: Database) -> None:
    """A build is paused, with what it has stored; the rows that come after it are in the WAL."""
    index = await database.index("sq8")
    async with index.rebuilding(nlist=4) as job:
        async for event in job:
            if event.fraction > 0.5:
                await job.pause()
    await database._source.supervisor().committer.checkpoint()
    ints = await database.table("ints")
    await ints.upsert(range(500, 510), vectors(10, 7))
