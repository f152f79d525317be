"""Maps of an index: every place a dot in the colour of its partition, every centroid a cross.

The country is on the left and the new area, enlarged, on the right.  A star is a place that was
asked for; thin lines lead from it to the three places the database answered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .cost import Cost
from .neighbours import Neighbours
from .places import ATTRIBUTION, Place, positions
from .truth import EARTH_RADIUS_KM, Positions, haversine_km

COLOURS = 10


@dataclass(frozen=True)
class Map:
    """What one map shows."""

    title: str
    area_title: str
    places: Sequence[Place]
    partitions: NDArray[np.int32]
    """The partition of each place, shape (n,)."""
    centroids: Positions
    new: NDArray[np.bool_]
    """Which places came after the index was built, shape (n,)."""
    centre: Place
    radius_km: float
    """The new area."""
    answers: Sequence[Neighbours]


def draw_map(path: Path, content: Map) -> None:
    """Write the map as a PNG."""
    figure, (country, area) = _figure(width_ratios=(1.75, 1))
    colours = colour_numbers(content.centroids)[content.partitions]
    _draw_places(country, content, colours, dot_area=7)
    _draw_places(area, content, colours, dot_area=22)
    _circle(country, content)
    _circle(area, content)
    _enlarge(area, content)
    country.set_title(content.title, loc="left")
    area.set_title(content.area_title, loc="left")
    country.legend(loc="lower left", fontsize=9, frameon=False)
    _save(figure, path)


def draw_costs(path: Path, curves: Mapping[str, Sequence[Cost]]) -> None:
    """Write recall against rows read, one line a stage, as a PNG."""
    figure, (axes,) = _figure(width_ratios=(1.5,))
    for name, curve in curves.items():
        rows_read = [cost.rows_read for cost in curve]
        axes.plot(rows_read, [cost.recall for cost in curve], marker="o", label=name)
    axes.set_xlabel("rows read by a search (each dot: one more partition probed)")
    axes.set_ylabel("recall of the true ten nearest")
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)
    axes.legend()
    _save(figure, path)


def _figure(width_ratios: Sequence[float]) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.4 * sum(width_ratios), 5.4), layout="compressed")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(width_ratios), squeeze=False, width_ratios=width_ratios)
    return figure, axes[0]


def _save(figure: Any, path: Path) -> None:
    figure.supxlabel(ATTRIBUTION, fontsize=7, color="0.4")
    figure.savefig(path, dpi=110)


def colour_numbers(centroids: Positions) -> NDArray[np.int64]:
    """A colour for each centroid: the one whose nearest use so far is the farthest away."""
    distances_km = haversine_km(centroids, centroids)
    nearest_use_km = np.full((len(centroids), COLOURS), np.inf)
    numbers = np.zeros(len(centroids), dtype=np.int64)
    for centroid in range(len(centroids)):
        number = int(nearest_use_km[centroid].argmax())
        numbers[centroid] = number
        np.minimum(nearest_use_km[:, number], distances_km[centroid], out=nearest_use_km[:, number])
    return numbers


def _draw_places(axes: Any, content: Map, colours: NDArray[np.int64], dot_area: float) -> None:
    latitude, longitude = positions(content.places).T
    axes.scatter(
        longitude, latitude,
        s=dot_area, c=colours, cmap="tab10", vmin=0, vmax=COLOURS - 1,
        edgecolors="black", linewidths=np.where(content.new, dot_area / 50, 0),
    )  # fmt: skip
    axes.scatter([], [], s=22, c="tab:red", label="place, in the colour of its partition")
    if content.new.any():
        axes.scatter([], [], s=22, c="tab:red", edgecolors="black", label="new place")
    axes.scatter(
        *content.centroids.T[::-1],
        marker="X", s=45, c="black", edgecolors="white", linewidths=0.7, label="centroid", zorder=3,
    )  # fmt: skip
    for answer in content.answers:
        _draw_answer(axes, answer)
    axes.set_aspect(1 / np.cos(np.radians(np.median(latitude))))
    axes.set_xticks([])
    axes.set_yticks([])


def _draw_answer(axes: Any, answer: Neighbours) -> None:
    from matplotlib.patheffects import withStroke

    from_place = answer.place
    for found in answer.found:
        longitudes = (from_place.longitude, found.longitude)
        axes.plot(longitudes, (from_place.latitude, found.latitude), color="black", linewidth=0.9)
    axes.plot(
        from_place.longitude, from_place.latitude,
        marker="*", markersize=12, color="gold", markeredgecolor="black", zorder=4,
    )  # fmt: skip
    axes.annotate(
        from_place.name, (from_place.longitude, from_place.latitude),
        xytext=(6, 7), textcoords="offset points", fontsize=9, weight="bold", clip_on=True,
        path_effects=[withStroke(linewidth=3, foreground="white")], zorder=5,
    )  # fmt: skip


def _circle(axes: Any, content: Map) -> None:
    latitude, longitude = _outline(content)
    axes.plot(longitude, latitude, color="0.3", linewidth=0.8, linestyle="--")


def _outline(content: Map) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    around = np.linspace(0, 2 * np.pi, 181)
    radius = np.degrees(content.radius_km / EARTH_RADIUS_KM)
    latitude = content.centre.latitude + radius * np.cos(around)
    return latitude, content.centre.longitude + radius * np.sin(around) / np.cos(
        np.radians(latitude)
    )


def _enlarge(axes: Any, content: Map) -> None:
    latitude, longitude = _outline(content)
    margin = 0.06
    axes.set_xlim(longitude.min() - margin, longitude.max() + margin)
    axes.set_ylim(latitude.min() - margin, latitude.max() + margin)
