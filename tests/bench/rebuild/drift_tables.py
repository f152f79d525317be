"""The drift as Markdown."""

from collections.abc import Iterator
from typing import Any

from tests.bench import target
from tests.bench.rebuild.accuracy import NPROBE, at_nprobe
from tests.bench.rebuild.targets import seconds, targets
from tests.bench.recall import at_recall
from tests.bench.tables import calls, markdown

DURABILITY = (
    "CentroiDB and pgvector sync every commit to the disk; zvec, to judge by its times, does not."
)


def drift(result: dict[str, Any]) -> str:
    """All tables of one set, and the peers that failed."""
    return "\n\n".join(
        [
            f"## Drift, {result['name']}: {result['rows']:,} rows",
            rebuilds(result),
            accuracy(result["centroidb"]),
            latencies(result),
            target.table(targets(result)),
            *failures(result),
        ]
    )


def rebuilds(result: dict[str, Any]) -> str:
    """Seconds, and recall and time of a search before and after, at the same nprobe."""
    ours = result["centroidb"]
    quiet_s, loaded_s = seconds(result)
    before = at_nprobe(ours["before"])
    quiet, loaded = at_nprobe(ours["quiet"]["after"]), at_nprobe(ours["loaded"]["after"])
    header = ["rebuild", "seconds", "recall before", "p50 ms before", "recall after", "p50 ms"]
    lines = [
        [f"faiss, blocking, {threads} thread(s)", f"{figure:.2f}", "", "", "", ""]
        for threads, figure in result["faiss_s"].items()
    ]
    lines.append(_rebuild("CentroiDB PARALLEL 2, no load", quiet_s, before, quiet))
    lines.append(_rebuild("CentroiDB PARALLEL 1, load", loaded_s, before, loaded))
    lines += [
        _rebuild(f"{name}, load", peer["seconds"], peer["before"], peer["after"])
        for name, peer in measured(result)
    ]
    return f"At nprobe {NPROBE}:\n\n" + markdown(header, lines)


def _rebuild(
    name: str, took_s: float, before: dict[str, float], after: dict[str, float]
) -> list[str]:
    points = [
        figure
        for point in (before, after)
        for figure in (f"{point['recall']:.3f}", f"{point['p50_ms']:.2f}")
    ]
    return [name, f"{took_s:.2f}", *points]


def accuracy(ours: dict[str, Any]) -> str:
    """What recall 0.95 costs CentroiDB."""
    sweeps = {
        "before": ours["before"],
        "rebuilt without load": ours["quiet"]["after"],
        "rebuilt under load": ours["loaded"]["after"],
        "made anew": ours["fresh"],
    }
    lines = [
        [name, f"{at_recall(points, 'rows_read'):,.0f}", f"{at_recall(points, 'p50_ms'):.2f}"]
        for name, points in sweeps.items()
    ]
    return markdown(["CentroiDB at recall 0.95", "rows read", "p50 ms"], lines)


def latencies(result: dict[str, Any]) -> str:
    """Commits of one row and searches, alone and beside the rebuild."""
    header = [
        *("", "commits", "p50 ms", "p99 ms", "max ms"),
        *("searches", "p50 ms", "p99 ms", "max ms"),
    ]
    systems = [("CentroiDB", result["centroidb"]["loaded"]), *measured(result)]
    lines = [
        [f"{name}, {when}", *calls(figures[when]["commit"]), *calls(figures[when]["search"])]
        for name, figures in systems
        for when in ("idle", "during")
    ]
    return f"{markdown(header, lines)}\n\n{DURABILITY}"


def measured(result: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The peers that have figures."""
    return [(name, peer) for name, peer in result["peers"].items() if "failed" not in peer]


def failures(result: dict[str, Any]) -> Iterator[str]:
    """The others, each with the reason."""
    for name, peer in result["peers"].items():
        if "failed" in peer:
            yield f"{name} was not measured: {peer['failed']}"
