"""Figures of a contest by system, each one value a round, and their ratios.

Ratios are taken round by round and then the median of them: in a round systems are measured soon
after each other, so a machine that is slow for a while is slow for both.
"""

import math
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

from tests.bench.recall import Point, at_recall

KEY_BYTES = 8

Result = Mapping[str, Any]
"""Of one system: lists of what was measured, one item a round, by measurement."""


class Standings:
    """What was measured on one data set."""

    def __init__(self, results: Mapping[str, Result], recall: float, rows: int, dim: int) -> None:
        self.results = results
        self.recall = recall
        self.rows = rows
        self.dim = dim

    @property
    def raw_bytes(self) -> int:
        """Of keys and float32 vectors."""
        return self.rows * (KEY_BYTES + 4 * self.dim)

    def rows_per_s(self, system: str) -> float:
        """Of the bulk load."""
        return self.rows / self.median(system, "load_s")

    def series(self, system: str, figure: str) -> list[float]:
        """The values of a figure, a round each; none if it was not measured."""
        measurement, value = FIGURES[figure]
        rounds = self.results.get(system, {}).get(measurement, [])
        return [value(each, self) for each in rounds]

    def median(self, system: str, figure: str) -> float:
        """Over the rounds; nan if there is none."""
        values = self.series(system, figure)
        return median(values) if values else math.nan

    def ratio(self, system: str, figure: str, to: str, of: str | None = None) -> float:
        """The median of a figure's ratio to another system's, perhaps to another figure of it."""
        pairs = zip(self.series(system, figure), self.series(to, of or figure), strict=False)
        ratios = [ours / theirs for ours, theirs in pairs]
        return median(ratios) if ratios else math.nan

    def late_ms(self) -> dict[str, float]:
        """How late CentroiDB's event loop was at worst, by system and measurement."""
        return {
            f"{system}: {measurement}": max(each["late_ms"] for each in rounds)
            for system, result in self.results.items()
            for measurement, rounds in result.items()
            if measurement != "failed" and "late_ms" in rounds[0]
        }

    def best(self, figure: str, systems: list[str]) -> str | None:
        """Which of these has the smallest median."""
        known = {name: self.median(name, figure) for name in systems}
        known = {name: value for name, value in known.items() if not math.isnan(value)}
        return min(known, key=known.__getitem__) if known else None

    def points(self, system: str) -> list[Point]:
        """Medians over the rounds by effort, of the efforts that were tried in all of them."""
        rounds = [each["points"] for each in self.results.get(system, {}).get("search", [])]
        return [
            {key: median(point[key] for point in points) for key in points[0]}
            for points in zip(*rounds, strict=False)
        ]

    def p50_at(self, system: str, recall: float) -> float:
        """Milliseconds at another recall than the set's; nan below what was tried."""
        points = self.points(system)
        if not points or recall < points[0]["recall"]:
            return math.nan
        return at_recall(points, "p50_ms", recall)


def point(figure: str) -> tuple[str, Callable[[Any, Standings], float]]:
    """Of searches by one client, where they reach the recall."""
    return "search", lambda each, all_: at_recall(each["points"], figure, all_.recall)


def rate(clients: int) -> tuple[str, Callable[[Any, Standings], float]]:
    """Searches a second."""
    return "search", lambda each, _: float(each["clients"][str(clients)]["per_s"])


FIGURES: dict[str, tuple[str, Callable[[Any, Standings], float]]] = {
    "load_s": ("build", lambda each, _: each["load_s"]),
    "build_s": ("build", lambda each, _: each["build_s"]),
    "ready_s": ("build", lambda each, _: each["load_s"] + each["build_s"]),
    "effort": point("effort"),
    "p50_ms": point("p50_ms"),
    "p99_ms": point("p99_ms"),
    "rate 1": rate(1),
    "rate 8": rate(8),
    "rate 64": rate(64),
    "commit_ms": ("write 1", lambda each, _: each["p50_ms"]),
    "commits 1": ("write 1", lambda each, _: each["per_s"]),
    "commits 64": ("write 64", lambda each, _: each["per_s"]),
    "disk": ("close", lambda each, all_: each["bytes"] / all_.raw_bytes),
    "memory": ("reopen", lambda each, all_: each["memory_bytes"] / all_.raw_bytes),
    "first_s": ("reopen", lambda each, _: each["first_s"]),
}
"""Of which measurement, and how it follows from it. Disk and memory are shares of the raw bytes."""
