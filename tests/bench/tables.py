"""The results as Markdown tables."""

from collections.abc import Iterable, Sequence
from typing import Any


def markdown(header: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    """One table."""
    ruler = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in [header, ruler, *lines])


def costs(result: dict[str, Any]) -> str:
    """What was measured once."""
    disk, memory = result["disk"], result["memory_mb"]
    lines = [
        ("rows", f"{result['rows']:,}"),
        ("rows loaded durably per second", f"{result['rows'] / result['load_s']:,.0f}"),
        ("index build, seconds", f"{result['build_s']:.2f}"),
        ("rows deleted per second", f"{result['changed'] / result['delete_s']:,.0f}"),
        ("rows inserted per second", f"{result['changed'] / result['insert_s']:,.0f}"),
        ("rebuild under load, seconds", f"{result['rebuild_s']:.2f}"),
        ("peak memory of the process, MB", f"{memory['peak']:,.0f}"),
        ("of which the rows to load, in Python, MB", f"{memory['corpus']:,.0f}"),
        ("files after close", disk["files"]),
        ("bytes on disk / raw bytes", f"{disk['bytes'] / disk['raw_bytes']:.2f}"),
    ]
    return markdown(["", "measured"], lines)


def sweep(result: dict[str, Any]) -> str:
    """Recall and cost by nprobe, before and after the rebuild."""
    header = [
        *("nprobe", "recall", "rows read", "p50 ms", "p99 ms"),
        *("rebuilt: recall", "rows read", "p50 ms", "p99 ms"),
    ]
    lines = [
        [f"{built['nprobe']:.0f}", *_point(built), *_point(rebuilt)]
        for built, rebuilt in zip(result["sweep"], result["sweep_rebuilt"], strict=True)
    ]
    return markdown(header, lines)


def _point(point: dict[str, float]) -> list[str]:
    return [
        f"{point['recall']:.4f}",
        f"{point['rows_read']:,.0f}",
        f"{point['p50_ms']:.2f}",
        f"{point['p99_ms']:.2f}",
    ]


def latencies(result: dict[str, Any]) -> str:
    """Commits, searches and the event loop, with and without a rebuild beside them."""
    header = [
        *("", "commits", "p50 ms", "p99 ms", "max ms"),
        *("searches", "p50 ms", "p99 ms", "max ms", "loop late by at most, ms"),
    ]
    lines = [
        [name, *calls(load["commit"]), *calls(load["search"]), f"{load['loop_latest_ms']:.1f}"]
        for name, load in result["load"].items()
    ]
    return markdown(header, lines)


def calls(summary: dict[str, float]) -> list[str]:
    """Number of calls, median, 99th percentile, longest."""
    return [
        f"{summary['calls']:,}",
        *(f"{summary[key]:.2f}" for key in ("p50_ms", "p99_ms", "max_ms")),
    ]
