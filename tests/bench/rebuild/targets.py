"""The targets, on two cores: what a rebuild may cost, beside what it did cost."""

from collections.abc import Iterator
from typing import Any

from tests.bench.recall import at_recall, at_rows
from tests.bench.target import Target

RECALL_WITHIN = 0.005


def targets(result: dict[str, Any]) -> Iterator[Target]:
    """Those of the drift, from its figures."""
    yield from durations(result)
    loaded = result["centroidb"]["loaded"]
    yield from latencies(loaded["idle"], loaded["during"])
    yield Target("swap pause, ms", 5, loaded["swap_pause_ms"])
    yield Target(
        "recall lost against a fresh index, at equal rows read",
        RECALL_WITHIN,
        recall_lost(result["centroidb"]),
    )


def durations(result: dict[str, Any]) -> Iterator[Target]:
    """Seconds of the rebuilds against those of others."""
    quiet_s, loaded_s = seconds(result)
    one_s, two_s = result["faiss_s"]["1"], result["faiss_s"]["2"]
    yield Target("PARALLEL 2 without load, s; twice faiss on 2 threads", 2 * two_s, quiet_s)
    yield Target("PARALLEL 1 under load, s; four times faiss on 1 thread", 4 * one_s, loaded_s)
    pgvector = result["peers"].get("pgvector", {})
    if "seconds" in pgvector:
        third_s = pgvector["seconds"] / 3
        yield Target("PARALLEL 1 under load, s; a third of pgvector", third_s, loaded_s)


def latencies(idle: dict[str, Any], during: dict[str, Any]) -> Iterator[Target]:
    """Commits and searches beside a rebuild against those before it."""
    commit, search = idle["commit"], idle["search"]
    commit_ms = max(3 * commit["p99_ms"], 10)
    yield Target("commit p99, ms; 3 times idle or 10", commit_ms, during["commit"]["p99_ms"])
    yield Target("longest commit, ms", 30, during["commit"]["max_ms"])
    for figure, times in (("p50_ms", 1.5), ("p99_ms", 3.0)):
        what = f"search {figure[:3]}, ms; {times:g} times idle"
        yield Target(what, times * search[figure], during["search"][figure])


def seconds(result: dict[str, Any]) -> tuple[float, float]:
    """Of CentroiDB's rebuilds, PARALLEL 2 without load and PARALLEL 1 under load."""
    ours = result["centroidb"]
    return ours["quiet"]["outcome"]["seconds"], ours["loaded"]["outcome"]["seconds"]


def recall_lost(ours: dict[str, Any]) -> float:
    """How much less the index rebuilt under load finds where it reads as many rows."""
    rows = at_recall(ours["fresh"], "rows_read")
    return at_rows(ours["fresh"], rows) - at_rows(ours["loaded"]["after"], rows)
