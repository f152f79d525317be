"""What a search for an accuracy reaches, on held-out queries: `python -m tests.bench.accuracy`.

    built      the 70 % of the rows that come first along the direction in which they vary most
    drifted    the others are inserted, a fifth of the first is deleted, the centroids stay

Queries are of the population that is in the table at the time, a fifth of them deleted as well.
Rows are in relation to those that one `nprobe` for all queries reads for the same mean recall.
"""

import argparse
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import trio
from numpy.typing import NDArray

from centroidb import Database, Hits, Table, open_db
from centroidb.engine.index.distance import Metric
from tests.bench import sets

Vectors = NDArray[np.float32]

QUERIES = 1_000
KS = (1, 10, 100, 1_000)
ACCURACIES = (0.8, 0.9, 0.95, 0.99)
FIRST = 0.7
DELETED_ONE_IN = 5
ROWS_A_WRITE = 10_000
SETS: dict[str, tuple[Callable[[], Vectors], Metric]] = {
    "WordNet": (sets.wordnet, "cosine"),
    "Fashion-MNIST": (sets.fashion, "l2"),
    "world cities": (sets.cities, "l2"),
    "synthetic 100k x 256": (partial(sets.synthetic, 100_000, 256), "l2"),
}

HEAD = (
    "| set | state | k | asked | reached | rows | of one nprobe | p50 ms | p50 of that nprobe |\n"
    "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
)


@dataclass(frozen=True)
class Effort:
    """The mean recall, the mean rows and the median time of a batch of single searches."""

    recall: float
    rows: float
    p50_ms: float


@dataclass(frozen=True)
class Population:
    """Rows in the order in which they come, and queries like them in the same order."""

    rows: Vectors
    queries: Vectors

    @classmethod
    def of(cls, vectors: Vectors) -> "Population":
        """Some rows are held out at random; all are ordered along their widest direction."""
        random = np.random.default_rng(sets.SEED)
        some = vectors[random.choice(len(vectors), min(5_000, len(vectors)), replace=False)]
        _, _, directions = np.linalg.svd(some - some.mean(axis=0), full_matrices=False)
        ordered = vectors[np.argsort(vectors @ directions[0], kind="stable")]
        out = np.zeros(len(ordered), np.bool_)
        out[random.choice(len(ordered), QUERIES, replace=False)] = True
        return cls(ordered[~out], ordered[out])


async def states(table: Table, all_of: Population) -> AsyncIterator[tuple[str, Vectors]]:
    """The table in each state, with the queries for it."""
    first, asked_first = int(FIRST * len(all_of.rows)), int(FIRST * len(all_of.queries))
    await write(table, all_of.rows, 0, first)
    await table.create_index("ix")
    yield "built", all_of.queries[:asked_first]
    await write(table, all_of.rows, first, len(all_of.rows))
    await table.delete(range(0, first, DELETED_ONE_IN))
    left = np.ones(len(all_of.queries), np.bool_)
    left[:asked_first:DELETED_ONE_IN] = False
    yield "drifted", all_of.queries[left]


async def write(table: Table, rows: Vectors, start: int, stop: int) -> None:
    """Some of the rows, a few thousand a commit."""
    for first in range(start, stop, ROWS_A_WRITE):
        last = min(stop, first + ROWS_A_WRITE)
        await table.upsert(range(first, last), rows[first:last])


async def effort(table: Table, queries: Vectors, truth: list[Hits], **how: Any) -> Effort:
    """Search for one query after another."""
    k = len(truth[0].ids)
    recalls, rows, seconds = [], [], []
    for query, exact in zip(queries, truth, strict=True):
        started = perf_counter()
        hits = await table.search(query, k, **how)
        seconds.append(perf_counter() - started)
        recalls.append(len(set(hits.ids) & set(exact.ids)) / k)
        rows.append(hits.rows_scanned)
    return Effort(float(np.mean(recalls)), float(np.mean(rows)), 1e3 * median(seconds))


async def one_nprobe(table: Table, queries: Vectors, truth: list[Hits]) -> list[Effort]:
    """The efforts of growing numbers of partitions, until nearly all is found."""
    efforts: list[Effort] = []
    nprobe = 1
    while not efforts or efforts[-1].recall < ACCURACIES[-1] + 0.005:
        efforts.append(await effort(table, queries, truth, nprobe=nprobe))
        nprobe = max(nprobe + 1, round(1.25 * nprobe))
    return efforts


async def calibrated(table: Table, query: NDArray[np.float32]) -> None:
    """Search until the rules are those for the rows as they are: it may take a minute."""
    supervisor = table._source.supervisor()
    head = supervisor.state.heads.by_name(table.name)
    assert head is not None
    while True:
        await table.search(query, accuracy=ACCURACIES[0])
        if [*supervisor.calibrations._known.values()][-1].writes == head.writes:
            return
        await trio.sleep(1)


async def lines(name: str, table: Table, state: str, queries: Vectors) -> AsyncIterator[str]:
    """A line of the table for each k and accuracy."""
    await calibrated(table, queries[0])
    for k in KS:
        truth = await table.search(queries, k, exact=True)
        fixed = await one_nprobe(table, queries, truth)
        for accuracy in ACCURACIES:
            found = await effort(table, queries, truth, accuracy=accuracy)
            known = [each.recall for each in fixed]
            rows = np.interp(found.recall, known, [each.rows for each in fixed])
            p50 = np.interp(found.recall, known, [each.p50_ms for each in fixed])
            yield (
                f"| {name} | {state} | {k} | {accuracy} | {found.recall:.3f} | {found.rows:,.0f} "
                f"| {found.rows / rows:.2f} | {found.p50_ms:.2f} | {p50:.2f} |"
            )


async def measure(name: str, database: Database) -> None:
    """One set, in both states."""
    make, metric = SETS[name]
    all_of = Population.of(make())
    table = await database.create_table("t", dim=all_of.rows.shape[1], metric=metric)
    async for state, queries in states(table, all_of):
        async for line in lines(name, table, state, queries):
            print(line, flush=True)


async def main(names: list[str]) -> None:
    """All sets, or those named."""
    print(HEAD, flush=True)
    for name in names:
        async with open_db(":memory:") as database:
            await measure(name, database)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, add_help=True)
    parser.add_argument("names", nargs="*", default=list(SETS), help=", ".join(SETS))
    trio.run(main, parser.parse_args().names)
