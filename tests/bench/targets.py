"""The targets of speed and size, on two cores: what CentroiDB may cost beside others."""

import math
from collections.abc import Iterator, Mapping

from tests.bench.figures import Standings
from tests.bench.systems import BARE, CODES, OURS, REFERENCE, SYSTEMS
from tests.bench.target import Target

LATE_MS = 20.0
STORING = [
    name
    for name, system in SYSTEMS.items()
    if system.make and system.synced and system.loads and system.efforts
]
"""Peers that make an index on stored rows, and store it, whether or not they sync a commit."""


def targets(every: Mapping[str, Standings], late_ms: float, import_s: float) -> Iterator[Target]:
    """All of them, from the standings by data set."""
    for name, standings in every.items():
        yield from SEARCHES.get(name, no_targets)(standings)
    for name in ("wordnet", "synthetic"):
        if name in every:
            yield from builds(name, every[name])
    if "wordnet" in every:
        yield from sizes(every["wordnet"])
    yield Target("import centroidb, s", 0.5, import_s)
    yield Target("event loop late by at most, ms", LATE_MS, late_ms)


def no_targets(standings: Standings) -> Iterator[Target]:
    """On the other sets."""
    return iter(())


def search(name: str, standings: Standings, times: float, to: str, system: str = OURS) -> Target:
    """p50 of one client against another system's at equal recall."""
    what = f"{name}: search p50 at recall {standings.recall:g}, {system} / {to}"
    return Target(what, times, standings.ratio(system, "p50_ms", to))


def of_wordnet(standings: Standings) -> Iterator[Target]:
    """Searches, alone and at once."""
    yield search("WordNet", standings, 0.5, REFERENCE)
    yield search("WordNet", standings, 0.5, REFERENCE, CODES)
    yield search("WordNet", standings, 1.0, "hnswlib")
    yield Target(
        f"WordNet: searches a second by 64 clients, {OURS} / one client of {REFERENCE}",
        3.0,
        standings.ratio(OURS, "rate 64", REFERENCE, "rate 1"),
        at_least=True,
    )


def of_fashion(standings: Standings) -> Iterator[Target]:
    """Searches in many dimensions."""
    yield search("Fashion-MNIST", standings, 0.4, REFERENCE)
    yield search("Fashion-MNIST", standings, 0.4, REFERENCE, CODES)


def of_synthetic(standings: Standings) -> Iterator[Target]:
    """Searches that read little."""
    for times, to in ((1.0, REFERENCE), (0.35, "zvec IVF"), (0.08, "pgvector")):
        yield search("synthetic", standings, times, to)


SEARCHES = {"wordnet": of_wordnet, "fashion": of_fashion, "synthetic": of_synthetic}


def builds(name: str, standings: Standings) -> Iterator[Target]:
    """The index, and the rows before it."""
    fastest = standings.best("build_s", STORING)
    what = f"{name}: build of the index, {OURS} / "
    yield Target(f"{what}{REFERENCE}", 2.0, standings.ratio(OURS, "build_s", REFERENCE))
    yield Target(
        f"{what}{f'{fastest}, ' if fastest else ''}the fastest peer that stores it",
        0.3,
        standings.ratio(OURS, "build_s", fastest) if fastest else math.nan,
    )
    speed = standings.ratio(BARE, "load_s", OURS)
    yield Target(f"{name}: bulk load, {OURS} / bare SQLite, rows/s", 0.6, speed, at_least=True)
    yield Target(f"{name}: bulk load, rows/s", 60_000, standings.rows_per_s(OURS), at_least=True)


def sizes(standings: Standings) -> Iterator[Target]:
    """Commits, disk, memory and the open, on WordNet."""
    commit = standings.ratio(OURS, "commit_ms", BARE)
    yield Target(f"WordNet: commit of a row p50, {OURS} / bare SQLite", 2.5, commit)
    group = standings.ratio(OURS, "commits 64", OURS, "commits 1")
    yield Target("WordNet: commits a second, 64 writers / one", 12, group, at_least=True)
    yield Target("WordNet: disk after close / raw", 1.4, standings.median(OURS, "disk"))
    yield Target("WordNet: memory, codes only / raw", 0.5, standings.median(CODES, "memory"))
    yield Target("WordNet: open to first answer, s", 0.15, standings.median(OURS, "first_s"))
