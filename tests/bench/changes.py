"""WordNet with its payloads changes: a fifth is deleted and inserted, and the index rebuilt.

load -> index -> search -> delete and insert a fifth -> rebuild beside load -> search -> close
"""

import gc
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np
import trio

from centroidb import Database, Table, open_db
from tests.bench import data, tables
from tests.bench.load import Load, rewrites
from tests.bench.memory import peak_bytes
from tests.bench.recall import Point
from tests.bench.sweep import Exam, sweep

CHANGED_SHARE = 0.2
IDLE_S = 5.0
MIB = 1 << 20
INDEX = "wordnet_ivf"
SEED = 1


@dataclass
class Bench:
    """The set, and what has been measured so far."""

    corpus: data.Corpus
    exam: Exam
    result: dict[str, Any] = field(default_factory=dict)

    @asynccontextmanager
    async def clock(self, name: str) -> AsyncIterator[None]:
        """Note how many seconds the body took."""
        start_s = perf_counter()
        yield
        self.result[name] = perf_counter() - start_s

    async def run(self, path: Path) -> None:
        """Everything, in its order."""
        self.result["rows"] = len(self.corpus.keys)
        corpus_mb = peak_bytes() / MIB
        async with open_db(path) as database:
            table = await database.create_table("wordnet", dim=data.DIM, metric="l2")
            await self.load(table)
            self.result["sweep"] = await self.build(table)
            await self.change(table)
            await self.rebuild(database, table)
            self.result["sweep_rebuilt"] = await sweep(table, self.exam)
            errors = (await database.check()).errors
        if errors:
            raise RuntimeError(f"check() after the bench: {errors}")
        self.result["memory_mb"] = {"corpus": corpus_mb, "peak": peak_bytes() / MIB}
        self.result["disk"] = disk(path, self.corpus)

    async def load(self, table: Table) -> None:
        """All rows, durably."""
        corpus = self.corpus
        async with self.clock("load_s"):
            await table.upsert(corpus.keys, corpus.vectors, corpus.payloads)

    async def build(self, table: Table) -> list[Point]:
        """Index and search."""
        async with self.clock("build_s"):
            await table.create_index(INDEX)
        return await sweep(table, self.exam)

    async def change(self, table: Table) -> None:
        """Delete a fifth of the rows and insert them again."""
        corpus = self.corpus
        count = int(len(corpus.keys) * CHANGED_SHARE)
        rows = np.random.default_rng(SEED).choice(len(corpus.keys), count, replace=False)
        self.result["changed"] = count
        async with self.clock("delete_s"):
            await table.delete(corpus.keys[rows])
        async with self.clock("insert_s"):
            payloads = [corpus.payloads[row] for row in rows.tolist()]
            await table.upsert(corpus.keys[rows], corpus.vectors[rows], payloads)

    async def rebuild(self, database: Database, table: Table) -> None:
        """The load beside the purge of the change, beside nothing, and beside a rebuild."""
        index = await table.index(INDEX)
        purging = await self.load_on(table).beside(partial(trio.sleep, IDLE_S))
        async with self.clock("vacuum_s"):
            await database.vacuum()

        async def work() -> None:
            async with self.clock("rebuild_s"):
                await index.rebuild(parallel=1)

        idle, busy = self.load_on(table), self.load_on(table)
        self.result["load"] = {
            "while deleted rows are purged": purging,
            "idle": await idle.beside(partial(trio.sleep, IDLE_S)),
            "during the rebuild": await busy.beside(work),
        }

    def load_on(self, table: Table) -> Load:
        """A writer and a reader."""
        return Load(table, self.corpus.queries, rewrites(table, self.corpus))


def disk(path: Path, corpus: data.Corpus) -> dict[str, int]:
    """Bytes of the closed database against keys, vectors and payloads."""
    files = list(path.parent.glob(f"{path.name}*"))
    payload_bytes = sum(len(json.dumps(payload).encode()) for payload in corpus.payloads)
    return {
        "files": len(files),
        "bytes": sum(file.stat().st_size for file in files),
        "raw_bytes": corpus.keys.nbytes + corpus.vectors.nbytes + payload_bytes,
    }


def measure(scale: float) -> dict[str, Any]:
    """All of it, on a share of the rows."""
    corpus = data.load().head(scale)
    gc.freeze()  # the rows to load are the bench's, and a million objects to walk
    bench = Bench(corpus, Exam.of(corpus.keys, corpus.vectors, corpus.queries))
    with TemporaryDirectory() as folder:
        trio.run(bench.run, Path(folder) / "wordnet.db")
    return bench.result


def report(result: dict[str, Any]) -> Iterator[str]:
    """The tables."""
    yield tables.costs(result)
    yield tables.sweep(result)
    yield tables.latencies(result)
