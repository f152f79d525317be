"""How load, build, memory, disk and searches grow with rows, partitions and dimensions.

    python -m tests.bench.growth [--only rows|partitions|dimensions ...] [--scale 0.1]

One of the three varies at a time, over synthetic rows, each case in a process of its own. The
phases are those of a rebuild by two lanes with nothing else running. Prints Markdown, with the
power of each that the times grow by.
"""

import argparse
import json
import math
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np
import trio

from centroidb import Database, Table, open_db
from tests.bench.latency import Latencies
from tests.bench.machine import machine
from tests.bench.memory import peak_bytes
from tests.bench.mixture import Mixture
from tests.bench.sets import SEED, Vectors
from tests.bench.tables import markdown

ROWS_A_CHUNK = 50_000
NPROBE = 32
QUERIES = 200
WARM_UP = 2
MIB = 1 << 20
FIELDS = {"rows": "rows", "partitions": "nlist", "dimensions": "dim"}
PHASES = ("sample", "cluster", "assign", "encode")
SECONDS = ("load_s", *(f"{phase}_s" for phase in PHASES), "build_s")
HEADER = (
    *("rows", "partitions", "dims", "load s", "sample s", "k-means s", "assign s", "encode s"),
    *("build s", "peak MiB", "disk / raw", "nprobe 1 ms", f"nprobe {NPROBE} ms", "rows read"),
)


@dataclass(frozen=True)
class Case:
    """What is built."""

    rows: int
    nlist: int
    dim: int


@dataclass(frozen=True)
class Growth:
    """What it took. peak_bytes: of the process, over what it held before it opened the file."""

    load_s: float
    sample_s: float
    cluster_s: float
    assign_s: float
    encode_s: float
    build_s: float
    peak_bytes: int
    disk_bytes: int
    first_ms: float
    search_ms: float
    rows_read: float


def cases(scale: float) -> dict[str, list[Case]]:
    """By what varies."""
    sizes = [int(scale * rows) for rows in (62_500, 125_000, 250_000, 500_000, 1_000_000)]
    middle, root = sizes[2], round(math.sqrt(sizes[2]))
    return {
        "rows": [Case(rows, round(math.sqrt(rows)), 128) for rows in sizes],
        "partitions": [Case(middle, root * times // 2, 128) for times in (1, 2, 4, 8, 16)],
        "dimensions": [Case(middle, root, dim) for dim in (32, 64, 128, 256, 512)],
    }


def measured(case: Case) -> Growth:
    """In a process of its own."""
    command = [sys.executable, "-m", __spec__.name, "--case", json.dumps(asdict(case))]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return Growth(**json.loads(printed))


async def measure(case: Case, folder: Path) -> Growth:
    """Load, build, rebuild by phases, search."""
    held = peak_bytes()
    random = np.random.default_rng(SEED)
    mixture = Mixture.of(random, case.dim)
    async with open_db(folder / "a.db", cache_bytes=4 * case.rows * case.dim) as db:
        table = await db.create_table("rows", dim=case.dim)
        load_s = await load(table, case, mixture, random)
        start_s = perf_counter()
        await table.create_index("ivf", nlist=case.nlist, parallel=2)
        build_s = perf_counter() - start_s
        disk_bytes = await live_bytes(db)
        phases = await phases_s(table, case.nlist)
        queries = mixture.draw(random, QUERIES)
        first_ms, _ = await searches(table, queries, 1)
        search_ms, rows_read = await searches(table, queries, NPROBE)
    return Growth(
        load_s=load_s,
        **{f"{phase}_s": phases.get(phase, 0.0) for phase in PHASES},
        build_s=build_s,
        peak_bytes=peak_bytes() - held,
        disk_bytes=disk_bytes,
        first_ms=first_ms,
        search_ms=search_ms,
        rows_read=rows_read,
    )


async def load(table: Table, case: Case, mixture: Mixture, random: np.random.Generator) -> float:
    """Seconds for all rows, not counting the time it takes to make them up."""
    seconds = 0.0
    for first in range(0, case.rows, ROWS_A_CHUNK):
        keys = np.arange(first, min(case.rows, first + ROWS_A_CHUNK))
        vectors = mixture.draw(random, len(keys))
        start_s = perf_counter()
        await table.upsert(keys, vectors)
        seconds += perf_counter() - start_s
    return seconds


async def live_bytes(db: Database) -> int:
    """What the file holds, without pages that are free."""
    space = await db.space()
    return space.file_bytes - space.free_bytes


async def phases_s(table: Table, nlist: int) -> dict[str, float]:
    """Seconds of each phase of a rebuild, until the next one begins."""
    seconds: dict[str, float] = {}
    before, phase = 0.0, "begin"
    index = await table.index("ivf")
    async with index.rebuilding(nlist=nlist, parallel=2) as events:
        async for event in events:
            seconds[phase] = seconds.get(phase, 0.0) + event.elapsed_s - before
            before, phase = event.elapsed_s, event.phase
    return seconds


async def searches(table: Table, queries: Vectors, nprobe: int) -> tuple[float, float]:
    """Median ms of one client, and rows read, with codes in the cache."""
    for _ in range(WARM_UP):
        for query in queries:
            await table.search(query, nprobe=nprobe)
    latencies, read = Latencies(), []
    for query in queries:
        with latencies.timed():
            hits = await table.search(query, nprobe=nprobe)
        read.append(hits.rows_scanned)
    return latencies.summary()["p50_ms"], float(np.mean(read))


def report(name: str, results: Sequence[tuple[Case, Growth]]) -> Iterator[str]:
    """The table, and by which power the seconds grow."""
    yield f"## By {name}"
    yield markdown(HEADER, [line(case, growth) for case, growth in results])
    sizes = [getattr(case, FIELDS[name]) for case, _ in results]
    powers = {
        each.removesuffix("_s"): power(sizes, [getattr(growth, each) for _, growth in results])
        for each in SECONDS
    }
    yield "Powers: " + ", ".join(f"{each} {value:.2f}" for each, value in powers.items()) + "."


def line(case: Case, growth: Growth) -> list[str]:
    """Of the table."""
    raw_bytes = 4 * case.rows * case.dim
    return [
        *(f"{each:,}" for each in (case.rows, case.nlist, case.dim)),
        *(f"{getattr(growth, each):.2f}" for each in SECONDS),
        f"{growth.peak_bytes / MIB:,.0f}",
        f"{growth.disk_bytes / raw_bytes:.2f}",
        f"{growth.first_ms:.2f}",
        f"{growth.search_ms:.2f}",
        f"{growth.rows_read:,.0f}",
    ]


def power(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """The slope of the line through the logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(np.maximum(seconds, 1e-3)), 1)[0])


def main() -> None:
    """All cases, or one, as JSON."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.growth")
    parser.add_argument("--only", nargs="+", choices=list(FIELDS), default=list(FIELDS))
    parser.add_argument("--scale", type=float, default=1.0, help="share of the rows")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.case:
        with TemporaryDirectory() as folder:
            growth = trio.run(measure, Case(**json.loads(given.case)), Path(folder))
        print(json.dumps(asdict(growth)))
        return
    print(machine(), end="\n\n", flush=True)
    for name in given.only:
        for text in report(name, [(case, measured(case)) for case in cases(given.scale)[name]]):
            print(text, end="\n\n", flush=True)


if __name__ == "__main__":
    main()
