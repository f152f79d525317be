"""The epochs as curves."""

from pathlib import Path
from typing import Any

from tests.bench.rebuild.stream import Kind

TITLES: dict[Kind, str] = {"change": "3 % change an epoch", "window": "sliding window"}


def epochs(results: dict[Kind, dict[str, Any]], file: Path) -> None:
    """One panel a stream, one curve a policy."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure: Any = Figure(figsize=(10, 4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(results), sharey=True)
    for panel, (kind, policies) in zip(panels, results.items(), strict=True):
        for name, course in policies.items():
            panel.plot(course["rows_read"], label=f"{name}, {course['seconds']:.1f} s")
        panel.set_title(TITLES[kind])
        panel.set_xlabel("epoch")
        panel.legend(title="policy, seconds of maintenance")
    panels[0].set_ylim(bottom=0)  # for all, once all curves are drawn
    panels[0].set_ylabel("rows read at recall 0.95")
    figure.savefig(file, dpi=120)
