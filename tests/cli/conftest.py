"""A small database file, and the program to run on it."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import trio
from click.testing import CliRunner, Result

import centroidb
from centroidb.engine.cli import main

ROWS = 400
DIM = 3

Run = Callable[..., Result]


def vectors() -> np.ndarray:
    """The vectors of the rows, float32 (400, 3)."""
    return np.random.default_rng(5).normal(size=(ROWS, DIM)).astype(np.float32)


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed file: table `points` with index `points_ivf`, and an empty table `words`."""
    path = tmp_path_factory.mktemp("cli") / "original.db"

    async def make() -> None:
        async with centroidb.open_db(path) as db:
            points = await db.create_table("points", dim=DIM)
            payloads = [{"row": row} for row in range(ROWS)]
            await points.upsert(np.arange(ROWS), vectors(), payloads)
            await points.create_index("points_ivf", nlist=6)
            await db.create_table("words", dim=2, metric="cosine", key_type="str")

    trio.run(make)
    return path


@pytest.fixture
def file(original: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of the file for one test; at its end it must be whole."""
    copy = tmp_path / "points.db"
    shutil.copy(original, copy)
    yield copy
    assert errors_in(copy) == ()


def errors_in(path: Path) -> tuple[str, ...]:
    """What `check()` says about the file."""

    async def check() -> tuple[str, ...]:
        async with centroidb.open_db(path, read_only=True) as db:
            return (await db.check()).errors

    return trio.run(check)


@pytest.fixture
def run() -> Run:
    """Runs the program with arguments."""
    return lambda *arguments: CliRunner().invoke(main, [str(each) for each in arguments])
