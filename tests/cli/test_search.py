"""The command that searches."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import Run, vectors


def test_search_by_vector(run: Run, file: Path) -> None:
    """`--vector` finds the nearest rows, as brute force does."""
    query = [0.5, -1, 0.25]
    apart = np.sqrt(np.square(vectors().astype(np.float64) - query).sum(axis=1))
    nearest = np.argsort(apart)[:4]

    found = json.loads(
        run("search", file, "points", "--vector", query, "-k", 4, "--exact", "--json").stdout
    )

    assert [hit["id"] for hit in found] == nearest.tolist()
    assert [hit["distance"] for hit in found] == pytest.approx(apart[nearest].tolist())
    assert found[0]["payload"] == {"row": int(nearest[0])}


def test_search_by_key(run: Run, file: Path) -> None:
    """`--key` searches with the vector of that row, which is its own nearest."""
    lines = run("search", file, "points", "--key", 17, "-k", 2).stdout.splitlines()

    assert lines[0].split() == ["id", "distance", "payload"]
    assert lines[1].split(maxsplit=2) == ["17", "0", '{"row": 17}']
    assert len(lines) == 3


def test_search_through_the_index(run: Run, file: Path) -> None:
    """Probing all partitions of a named index finds what the exact search finds."""
    head = ("search", file, "points", "--key", 3, "--json")

    assert run(*head, "--index", "points_ivf", "--nprobe", 6).stdout == run(*head, "--exact").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--vector", "1,2,3"], "--vector: expected a JSON list of numbers, got '1,2,3'"),
        (["--vector", '["a"]'], "--vector: expected a JSON list of numbers, got '[\"a\"]'"),
        (["--key", "x"], "--key: the keys of 'points' are integers, got 'x'"),
        (["--key", "999"], "--key: table 'points' has no row 999"),
    ],
)
def test_what_can_not_be_searched_for(
    run: Run, file: Path, arguments: list[str], message: str
) -> None:
    """A query that is none is refused in one line."""
    result = run("search", file, "points", *arguments)

    assert result.exit_code == 1
    assert result.stderr == f"centroidb: {message}\n"


@pytest.mark.parametrize("arguments", [[], ["--key", "1", "--vector", "[1,2,3]"]])
def test_one_query(run: Run, file: Path, arguments: list[str]) -> None:
    """There must be one query, not none and not two: anything else is wrong usage."""
    result = run("search", file, "points", *arguments)

    assert result.exit_code == 2
    assert "give either --vector or --key" in result.stderr
