"""The places of the demo and the circle around Washington."""

import numpy as np
import pytest

from centroidb.engine.cli.demo.area import RADIUS_KM, TRAVELLED_KM, Area
from centroidb.engine.cli.demo.book import Book
from centroidb.engine.cli.demo.places import (
    STATE_CAPITALS,
    Place,
    capitals,
    find,
    positions,
    positions_of,
    rows,
    travellers,
    unit_vectors,
)
from centroidb.engine.cli.demo.truth import haversine_km


def test_places_are_contiguous_and_distinct(places: list[Place]) -> None:
    """Every place has a key of its own, lies in the contiguous states, and holds 500 people."""
    latitude, longitude = positions(places).T

    assert len({place.key for place in places}) == len(places)
    assert latitude.min() > 24
    assert latitude.max() < 49.5
    assert longitude.min() > -125
    assert longitude.max() < -66
    assert min(place.population for place in places) >= 500


def test_every_state_has_its_capital(places: list[Place]) -> None:
    """All 48 capitals are found, each in its own state."""
    found = {place.state: place.name for place in capitals(places)}

    assert found == STATE_CAPITALS
    assert len(found) == 48


def test_find_takes_the_most_populous(places: list[Place]) -> None:
    """Of several places with one name in one state the largest is meant."""
    small, large = (Place(key, "Springfield", "XX", 0, 0, key) for key in (1, 2))

    assert find([large, small], "Springfield", "XX") is large
    with pytest.raises(LookupError, match="Atlantis, MD"):
        find(places, "Atlantis", "MD")


def test_vectors_have_unit_length_and_lead_back(places: list[Place]) -> None:
    """A place's vector is a float32 unit vector that gives its position back to a metre."""
    keys, vectors, payloads = rows(places)
    back = positions_of(vectors)

    assert vectors.dtype == np.float32
    assert len(keys) == len(vectors) == len(payloads)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(back, positions(places), atol=1e-5)


def test_positions_of_nothing_have_two_columns() -> None:
    """No places make an array of shape (0, 2), and no vectors."""
    assert positions([]).shape == (0, 2)
    assert unit_vectors(positions([])).shape == (0, 3)


def test_travellers_stay_near_and_repeat(places: list[Place]) -> None:
    """Each traveller is within the distance of some place, and one seed gives the same ones."""
    few = places[:50]
    where = travellers(few, 200, away_km=5, seed=3)
    again = travellers(few, 200, away_km=5, seed=3)

    assert haversine_km(where, positions(few)).min(axis=1).max() < 5.01
    np.testing.assert_array_equal(where, again)


def test_circle_divides_the_places(places: list[Place]) -> None:
    """Outside are about 3,170 cities, inside about 980 places; nobody is in both."""
    area = Area.of(places)

    assert 3_000 < len(area.outside) < 3_400
    assert 900 < len(area.inside) < 1_100
    assert not {place.key for place in area.outside} & {place.key for place in area.inside}
    assert not any(area.holds(place) for place in area.outside)
    centre = positions([area.centre])
    assert haversine_km(centre, positions(area.inside)).max() <= RADIUS_KM
    assert haversine_km(centre, area.questions).max() <= RADIUS_KM + TRAVELLED_KM + 0.1


def test_book_keeps_annapolis_and_adds_the_rest(places: list[Place]) -> None:
    """Annapolis is there at first; Washington, Arlington and Frederick come later."""
    book = Book.of(places)
    first = {str(place) for place in book.first}
    later = {str(place) for place in book.later}

    assert {"Annapolis, MD", "Monterey, CA", "Sacramento, CA", "Trenton, NJ"} <= first
    assert {"Washington, DC", "Arlington, VA", "Frederick, MD", "Baltimore, MD"} <= later
    assert not first & later
    assert not {str(place) for place in book.asked} & (first | later)
