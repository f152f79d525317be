"""The second run: the book's own cities, its question, and forty seeds instead of one.

The book shows one index for which "Gaithersburg" finds Philadelphia, Trenton and Annapolis until
the rebuild.  Which neighbours one probe finds depends on where the seed put the centroids, so one
picture proves nothing: here forty indexes, each with a seed of its own, stand on one table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...db import Index, Table, open_db
from ...db.errors import RebuildRejected
from ..demo import report
from .neighbours import neighbours
from .places import Place, capitals, find, rows, within_km
from .poll import Poll

SEEDS = range(40)
NLIST = 16
NPROBE = 1
RADIUS_KM = 80.0
CITY_POPULATION_MIN = 100_000


@dataclass(frozen=True)
class Book:
    """The cities of the run: those there at first, those that come later, those asked for."""

    first: list[Place]
    later: list[Place]
    asked: list[Place]

    @classmethod
    def of(cls, places: Sequence[Place]) -> Book:
        """Large cities, state capitals, Frederick and Monterey; later: 80 km around Washington."""
        named = [find(places, "Frederick", "MD"), find(places, "Monterey", "CA")]
        large = [place for place in places if place.population >= CITY_POPULATION_MIN]
        everyone = list(
            {place.key: place for place in [*large, *capitals(places), *named]}.values()
        )
        annapolis = find(places, "Annapolis", "MD")
        near = within_km(everyone, find(places, "Washington", "DC"), RADIUS_KM)
        later = [p for p, here in zip(everyone, near, strict=True) if here and p != annapolis]
        return cls(
            first=[place for place in everyone if place not in later],
            later=later,
            asked=[find(places, "Redwood City", "CA"), find(places, "Gaithersburg", "MD")],
        )


Polls = dict[str, list[Poll]]
"""By stage, what each question was answered."""


async def run_book(folder: Path, book: Book, *, seeds: Sequence[int] = SEEDS) -> Polls:
    """Ask before the inserts, after them, and after the rebuilds, with every seed."""
    report.book_opening(book.first, book.later, len(seeds), NLIST)
    everyone = book.first + book.later
    async with open_db(folder / "book.db") as database:
        table = await database.create_table("cities", dim=3, metric="cosine")
        await table.upsert(*rows(book.first))
        indexes = [
            await table.create_index(f"seed_{seed}", nlist=NLIST, seed=seed) for seed in seeds
        ]
        built = await ask(table, indexes, book.asked, book.first)
        report.polls("built", built)
        await table.upsert(*rows(book.later))
        inserted = await ask(table, indexes, book.asked, everyone)
        report.polls("inserted", inserted)
        report.refused(await rebuild(indexes))
        rebuilt = await ask(table, indexes, book.asked, everyone)
        report.polls("rebuilt", rebuilt)
        report.book_closing(inserted, rebuilt)
        report.check((await database.check()).errors)
    return {"built": built, "inserted": inserted, "rebuilt": rebuilt}


async def rebuild(indexes: Sequence[Index]) -> list[Index]:
    """Rebuild each; those that kept the old generation, since the new one would find less."""
    refused = []
    for index in indexes:
        try:
            await index.rebuild(nlist=NLIST)
        except RebuildRejected:
            refused.append(index)
    return refused


async def ask(
    table: Table, indexes: Sequence[Index], asked: Sequence[Place], places: Sequence[Place]
) -> list[Poll]:
    """Ask every index for the nearest three to each of the places asked for."""
    return [await _poll(table, indexes, place, places) for place in asked]


async def _poll(
    table: Table, indexes: Sequence[Index], place: Place, places: Sequence[Place]
) -> Poll:
    return Poll(
        [
            await neighbours(table, place, places, index=index.name, nprobe=NPROBE)
            for index in indexes
        ]
    )
