"""Recall against latency, as curves."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.bench.figures import Standings
from tests.bench.sets import SETS
from tests.bench.standings_tables import known
from tests.bench.systems import CODES, OURS, SYSTEMS

COLUMNS = 2
PANEL_INCHES = (5.6, 4.2)
LEGEND_INCHES = 1.6
LEAST_RECALL = 0.6
PEERS = [name for name in SYSTEMS if name not in (OURS, CODES)]
STYLES: dict[str, dict[str, Any]] = {
    OURS: {"color": "black", "linewidth": 2.5},
    CODES: {"color": "black", "linewidth": 2.5, "linestyle": ":"},
    **{name: {"color": f"C{number}"} for number, name in enumerate(PEERS)},
}


def draw(every: Mapping[str, Standings], file: Path) -> None:
    """A panel a data set, a curve a system: right is more recall, down is faster."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(len(every), COLUMNS)
    rows = -(-len(every) // columns)
    size = columns * PANEL_INCHES[0] + LEGEND_INCHES, rows * PANEL_INCHES[1]
    figure: Any = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    lines: dict[str, Any] = {}
    for number, (name, standings) in enumerate(every.items(), 1):
        panel = figure.add_subplot(rows, columns, number)
        lines |= draw_panel(panel, SETS[name].title, standings)
    figure.legend(lines.values(), lines.keys(), loc="outside right upper")
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=120)


def draw_panel(panel: Any, title: str, standings: Standings) -> dict[str, Any]:
    """One data set; its lines by system."""
    lines = {}
    for name in known(standings, "p50_ms"):
        points = [point for point in standings.points(name) if point["recall"] >= LEAST_RECALL]
        recalls = [point["recall"] for point in points]
        times_ms = [point["p50_ms"] for point in points]
        (lines[name],) = panel.plot(recalls, times_ms, marker=".", **STYLES[name])
    panel.set_title(title)
    panel.set_xlabel("recall of the nearest 10")
    panel.set_ylabel("p50 of one client, ms")
    panel.set_yscale("log")
    return lines
