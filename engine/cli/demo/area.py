"""The new area: a circle around Washington, empty at first, then full of places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .places import Place, find, travellers, within_km
from .truth import Positions

RADIUS_KM = 150.0
CITY_POPULATION_MIN = 15_000
QUESTIONS = 200
TRAVELLED_KM = 5.0
SEED = 7


@dataclass(frozen=True)
class Area:
    """Who lives outside the circle, who inside, and what is asked there."""

    centre: Place
    outside: list[Place]
    """Cities of 15,000 people and more."""
    inside: list[Place]
    """Places of any size."""
    questions: Positions
    """Points near places of the circle, shape (200, 2)."""
    asked: tuple[Place, Place]
    """The two places whose neighbours are printed at every stage."""

    @classmethod
    def of(cls, places: Sequence[Place]) -> Area:
        """Divide the places by the circle."""
        centre = find(places, "Washington", "DC")
        in_circle = within_km(places, centre, RADIUS_KM)
        inside = [place for place, here in zip(places, in_circle, strict=True) if here]
        outside = [
            place
            for place, here in zip(places, in_circle, strict=True)
            if not here and place.population >= CITY_POPULATION_MIN
        ]
        return cls(
            centre=centre,
            outside=outside,
            inside=inside,
            questions=travellers(inside, QUESTIONS, away_km=TRAVELLED_KM, seed=SEED),
            asked=(find(places, "Redwood City", "CA"), find(places, "Gaithersburg", "MD")),
        )

    def holds(self, place: Place) -> bool:
        """Whether the place lies in the circle."""
        return bool(within_km([place], self.centre, RADIUS_KM)[0])
