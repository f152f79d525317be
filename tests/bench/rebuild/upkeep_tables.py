"""Early, backpressure and epochs as Markdown."""

from collections.abc import Iterator, Sequence
from typing import Any

from tests.bench.recall import at_recall
from tests.bench.tables import calls, markdown

EPOCHS_A_COLUMN = 5


def early(result: dict[str, Any]) -> str:
    """What a search costs on a grown index, before and after."""
    header = [
        *("index made on", "state", "rows read at 0.95", "p50 ms"),
        *("recall at the default", "its nprobe", "rows read"),
    ]
    return markdown(header, [line for start in result for line in _states(start, result[start])])


def _states(start: str, states: dict[str, Any]) -> Iterator[list[str]]:
    manual, automatic = states["manual"], states["automatic"]
    rebuilt = f"rebuilt in {manual['outcome']['seconds']:.2f} s"
    yield [start, "grown", *_figures(manual["before"])]
    yield [start, rebuilt, *_figures(manual["after"])]
    yield [start, 'auto_rebuild="on"', *_figures(automatic["after"])]


def _figures(state: dict[str, Any]) -> list[str]:
    points, default = state["sweep"], state["default"]
    return [
        f"{at_recall(points, 'rows_read'):,.0f}",
        f"{at_recall(points, 'p50_ms'):.2f}",
        f"{default['recall']:.3f}",
        f"{default['nprobe']:.0f}",
        f"{default['rows_read']:,.0f}",
    ]


def backpressure(results: list[dict[str, Any]]) -> str:
    """Rebuilds beside writers of several rates."""
    header = [
        *("writers at", "rows/s written", "commits", "p50 ms", "p99 ms", "max ms"),
        *("rebuild s", "writers held s", "largest lag", "last lag slope", "converged"),
    ]
    return markdown(header, [_rate(result) for result in results])


def _rate(result: dict[str, Any]) -> list[str]:
    written = result["writers"]
    line = [result["share"], f"{written['rows_per_s']:,.0f}", *calls(written)]
    if "converged" not in result:
        return [*line, "", "", "", "", ""]
    outcome = result.get("outcome", {"seconds": float("nan"), "writers_held_s": float("nan")})
    return [
        *line,
        f"{outcome['seconds']:.2f}",
        f"{outcome['writers_held_s']:.2f}",
        f"{result['largest_lag']:,}",
        f"{result['last_lag_slope']:,.0f}",
        "yes" if result["converged"] else "no",
    ]


def epochs(policies: dict[str, Any]) -> str:
    """Rows read by epoch, one line a policy."""
    shown = range(0, len(next(iter(policies.values()))["rows_read"]), EPOCHS_A_COLUMN)
    header = ["policy", "maintenance s", *(f"epoch {number}" for number in shown), "mean"]
    lines = [_course(name, course, shown) for name, course in policies.items()]
    return markdown(header, lines)


def _course(name: str, course: dict[str, Any], shown: Sequence[int]) -> list[str]:
    rows = course["rows_read"]
    figures = [*(rows[number] for number in shown), sum(rows) / len(rows)]
    return [name, f"{course['seconds']:.2f}", *(f"{figure:,.0f}" for figure in figures)]
