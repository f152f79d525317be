"""Standings as Markdown tables."""

import math
from collections.abc import Iterator

from tests.bench.figures import Standings
from tests.bench.systems import BARE, REFERENCE, SYSTEMS
from tests.bench.tables import markdown
from tests.bench.targets import LATE_MS

RATIO = f"/ {REFERENCE}"
COMMITS_RATIO = f"/ {BARE}"


def report(standings: Standings) -> Iterator[str]:
    """All that was measured on one set."""
    yield searches(standings)
    yield costs(standings)
    yield commits(standings)
    yield lateness(standings)
    yield efforts(standings)
    yield from failures(standings)


def number(value: float, form: str = ".3g") -> str:
    """A figure, or nothing where there is none."""
    return "" if math.isnan(value) else f"{value:{form}}"


def searches(standings: Standings) -> str:
    """Latency at equal recall, and rates by clients."""
    header = [
        *(f"recall {standings.recall:g}", "effort", "p50 ms", RATIO, "p99 ms", RATIO),
        *("1 client, queries/s", "8", "64", f"64 clients {RATIO} 1"),
    ]
    return markdown(header, [searched(standings, name) for name in known(standings, "p50_ms")])


def searched(standings: Standings, name: str) -> list[str]:
    """One system."""
    return [
        name,
        number(standings.median(name, "effort"), ".0f"),
        number(standings.median(name, "p50_ms")),
        number(standings.ratio(name, "p50_ms", REFERENCE), ".2f"),
        number(standings.median(name, "p99_ms")),
        number(standings.ratio(name, "p99_ms", REFERENCE), ".2f"),
        *(number(standings.median(name, f"rate {clients}"), ",.0f") for clients in (1, 8, 64)),
        number(standings.ratio(name, "rate 64", REFERENCE, "rate 1"), ".2f"),
    ]


def costs(standings: Standings) -> str:
    """Load, build, disk, memory, open. A system whose rows are its index only has a build."""
    header = [
        *("", "load s", "rows/s", f"seconds {COMMITS_RATIO}", "build s", RATIO, "load + build s"),
        *("disk / raw", "memory / raw", "open to first answer s"),
    ]
    return markdown(header, [cost(standings, name) for name in known(standings, "load_s")])


def cost(standings: Standings, name: str) -> list[str]:
    """One system."""
    loads, searches_too = SYSTEMS[name].loads, bool(SYSTEMS[name].efforts)
    build = "build_s" if loads else "ready_s"
    return [
        name,
        number(standings.median(name, "load_s")) if loads else "",
        number(standings.rows_per_s(name), ",.0f") if loads else "",
        number(standings.ratio(name, "load_s", BARE), ".2f") if loads else "",
        number(standings.median(name, build)) if searches_too else "",
        number(standings.ratio(name, build, REFERENCE, "build_s"), ".2f") if searches_too else "",
        number(standings.median(name, "ready_s")),
        number(standings.median(name, "disk"), ".2f"),
        number(standings.median(name, "memory"), ".2f"),
        number(standings.median(name, "first_s"), ".3f"),
    ]


def commits(standings: Standings) -> str:
    """Commits of a row, by one writer and by many."""
    header = [
        *("commits of a row", "synced", "p50 ms", COMMITS_RATIO, "1 writer, commits/s"),
        *("64 writers", "64 / 1"),
    ]
    return markdown(header, [committed(standings, name) for name in known(standings, "commit_ms")])


def committed(standings: Standings, name: str) -> list[str]:
    """One system."""
    return [
        name,
        SYSTEMS[name].synced or "",
        number(standings.median(name, "commit_ms")),
        number(standings.ratio(name, "commit_ms", BARE), ".2f"),
        number(standings.median(name, "commits 1"), ",.0f"),
        number(standings.median(name, "commits 64"), ",.0f"),
        number(standings.ratio(name, "commits 64", name, "commits 1"), ".1f"),
    ]


def lateness(standings: Standings) -> str:
    """Of the event loop, which a call of CentroiDB must not hold for long."""
    header = ["event loop", "late by at most, ms", f"/ {LATE_MS:g}"]
    lines = [
        [what, number(late_ms, ".1f"), number(late_ms / LATE_MS, ".2f")]
        for what, late_ms in standings.late_ms().items()
    ]
    return markdown(header, lines)


def efforts(standings: Standings) -> str:
    """Recall and latency by effort."""
    header = ["system", "effort", "recall", "rows read", "p50 ms", f"at equal recall {RATIO}"]
    lines = [
        [name, *line] for name in known(standings, "p50_ms") for line in swept(standings, name)
    ]
    return markdown([*header, "p99 ms"], lines)


def swept(standings: Standings, name: str) -> Iterator[list[str]]:
    """One system, an effort each."""
    for point in standings.points(name):
        yield [
            f"{point['effort']:.0f}",
            f"{point['recall']:.4f}",
            number(point.get("rows_read", math.nan), ",.0f"),
            number(point["p50_ms"]),
            number(point["p50_ms"] / standings.p50_at(REFERENCE, point["recall"]), ".2f"),
            number(point["p99_ms"]),
        ]


def failures(standings: Standings) -> Iterator[str]:
    """What could not be measured, and why."""
    for name, result in standings.results.items():
        for what, reason in result["failed"].items():
            yield f"{name} was not measured ({what}): {reason}"


def known(standings: Standings, figure: str) -> list[str]:
    """The systems for which there is such a figure."""
    return [name for name in standings.results if standings.series(name, figure)]
