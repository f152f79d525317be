"""The nearest places to a place: what the database answers beside what is true."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...db import Table
from .places import Place, positions, unit_vectors
from .truth import Truth, haversine_km

NEIGHBOURS = 3


@dataclass(frozen=True)
class Neighbours:
    """The nearest three to a place, itself left out, best first."""

    place: Place
    found: list[Place]
    true: list[Place]
    share: float
    """The share of the true three that was found."""
    rows_read: int

    @property
    def found_text(self) -> str:
        """The found places with their distances."""
        return _with_distances(self.place, self.found)

    @property
    def true_text(self) -> str:
        """The true places with their distances."""
        return _with_distances(self.place, self.true)


async def neighbours(
    table: Table, place: Place, places: Sequence[Place], *, index: str, nprobe: int
) -> Neighbours:
    """Ask the table for the nearest three to a place, and the truth about the places in it."""
    others = {other.key: other for other in places if other.key != place.key}
    truth = Truth.of(positions([place]), list(others), positions(list(others.values())))
    vector = unit_vectors(positions([place]))[0]
    hits = await table.search(vector, k=NEIGHBOURS + 1, nprobe=nprobe, index=index)
    found = [key for key in hits.ids if key != place.key][:NEIGHBOURS]
    return Neighbours(
        place=place,
        found=[others[key] for key in found],
        true=[others[key] for key in truth.nearest(0, NEIGHBOURS)],
        share=truth.recall(0, found, NEIGHBOURS),
        rows_read=hits.rows_scanned,
    )


def _with_distances(centre: Place, places: Sequence[Place]) -> str:
    distances_km = haversine_km(positions([centre]), positions(places))[0]
    return ", ".join(f"{p} {km:.0f} km" for p, km in zip(places, distances_km, strict=True))
