"""Recall against latency, as curves."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.bench.figures import Standings
from tests.bench.sets import SETS
from tests.bench.standings_tables import known

COLUMNS = 2
PANEL_INCHES = (6.0, 4.2)
LEAST_RECALL = 0.6


def draw(every: Mapping[str, Standings], file: Path) -> None:
    """A panel a data set, a curve a system: right is more recall, down is faster."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = -(-len(every) // COLUMNS)
    columns = min(len(every), COLUMNS)
    size = columns * PANEL_INCHES[0], rows * PANEL_INCHES[1]
    figure: Any = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for panel, (name, standings) in zip(panels, every.items(), strict=False):
        panel_of(panel, SETS[name].title, standings)
    for panel in list(panels)[len(every) :]:
        panel.set_axis_off()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=120)


def panel_of(panel: Any, title: str, standings: Standings) -> None:
    """One data set."""
    for name in known(standings, "p50_ms"):
        points = [point for point in standings.points(name) if point["recall"] >= LEAST_RECALL]
        recalls = [point["recall"] for point in points]
        panel.plot(recalls, [point["p50_ms"] for point in points], marker=".", label=name)
    panel.set_title(title)
    panel.set_xlabel("recall of the nearest 10")
    panel.set_ylabel("p50 of one client, ms")
    panel.set_yscale("log")
    panel.legend(fontsize="x-small")
