"""Reading a cost curve, and what the parts of the demo remember."""

import math

from centroidb.engine.cli.demo.cost import Cost, at_recall, at_rows_read
from centroidb.engine.cli.demo.crash import WRITES_MIN, Child
from centroidb.engine.cli.demo.maps import colour_numbers
from centroidb.engine.cli.demo.places import Place, positions
from centroidb.engine.cli.demo.traffic import Pace
from centroidb.engine.cli.demo.truth import haversine_km

CURVE = [
    Cost(nprobe=1, recall=0.7, rows_read=100, search_ms=0.1),
    Cost(nprobe=2, recall=0.99, rows_read=150, search_ms=0.2),
    Cost(nprobe=3, recall=1.0, rows_read=300, search_ms=0.3),
]


def test_cost_at_equal_recall() -> None:
    """The first point that reaches the recall is the cost."""
    assert at_recall(CURVE, 0.99).nprobe == 2


def test_recall_at_equal_rows() -> None:
    """The best recall within the rows allowed; nothing when one partition is more than that."""
    best = at_rows_read(CURVE, 299)

    assert best is not None
    assert best.recall == 0.99
    assert at_rows_read(CURVE, 99) is None


def test_pace_times_every_call() -> None:
    """Each timed call leaves its duration; the longest is the stall."""
    pace = Pace()
    for _ in range(3):
        with pace.timed():
            pass

    assert len(pace.times_ms) == 3
    assert Pace([1.0, 9.0, 2.0]).longest_ms == 9
    assert Pace([1.0, 9.0, 2.0]).median_ms == 2
    assert math.isnan(Pace().longest_ms)


def test_child_is_in_the_middle_when_both_its_tasks_are() -> None:
    """The kill waits for enough acknowledged inserts and for a rebuild far from its end."""
    child = Child()
    for key in range(WRITES_MIN):
        child.hear(f"acknowledged {key}")
    assert not child.is_in_the_middle

    child.hear("rebuild catch up 93%")
    assert not child.is_in_the_middle

    child.hear("rebuild assign 40%")
    assert child.is_in_the_middle
    assert child.acknowledged == list(range(WRITES_MIN))
    assert child.progress == "assign 40%"


def test_near_partitions_differ_in_colour(places: list[Place]) -> None:
    """No centroid has the colour of any of its three nearest."""
    centroids = positions(places[::300])
    numbers = colour_numbers(centroids)
    nearest = haversine_km(centroids, centroids).argsort(axis=1)[:, 1:4]

    assert (numbers[nearest] != numbers[:, None]).all()
