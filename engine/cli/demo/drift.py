"""The first run: an index is built, the data drift away from it, and it is rebuilt online.

    built      cities outside the circle, 32 partitions
    inserted   every place of the circle comes in: two or three partitions take them all
    rebuilt    ALTER INDEX ... REBUILD ONLINE to 64 partitions; a writer and a reader go on

The same questions, asked in the circle, measure each stage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import trio
from numpy.typing import NDArray

from ...db import Database, Index, Outcome, Table, open_db
from ..demo import report
from .area import RADIUS_KM, SEED, Area
from .cost import cost_curve
from .maps import Map, draw_costs, draw_map
from .neighbours import neighbours
from .places import Place, positions, positions_of, rows, unit_vectors
from .stage import Stage
from .traffic import Traffic
from .truth import Truth, filed_nearest

NLIST = 32
REBUILD = (
    "ALTER INDEX cities_ivf REBUILD ONLINE PARAMETERS (TYPE IVF, NEIGHBOR PARTITIONS 64) PARALLEL 2"
)


@dataclass(frozen=True)
class Filing:
    """How an index files places at one moment."""

    places: Sequence[Place]
    partitions: NDArray[np.int32]
    """The partition of each place, shape (n,)."""
    in_area: NDArray[np.bool_]
    """Which places lie in the circle, shape (n,)."""
    centroids: NDArray[np.float32]
    """Shape (nlist, 3)."""

    @property
    def area_sizes(self) -> list[int]:
        """See `Stage`."""
        _, sizes = np.unique(self.partitions[self.in_area], return_counts=True)
        return sorted(sizes.tolist(), reverse=True)

    @property
    def filed_nearest(self) -> int:
        """See `Stage`."""
        vectors = unit_vectors(positions(self.places))
        return filed_nearest(vectors, self.centroids, self.partitions)


@dataclass(frozen=True)
class Run:
    """The table and the index under observation."""

    folder: Path
    database: Database
    table: Table
    index: Index
    area: Area

    async def observe(self, number: int, name: str, places: Sequence[Place]) -> Stage:
        """Measure, draw and print a stage; `places` is what the table holds now."""
        filing = await self._filing(places)
        stage = await self._measured(name, filing)
        path = self.folder / f"{number}-{name}.png"
        await trio.to_thread.run_sync(draw_map, path, self._map(stage, filing))
        report.stage(number, stage)
        return stage

    async def _filing(self, places: Sequence[Place]) -> Filing:
        return Filing(
            places=places,
            partitions=await self.index.partition_of([place.key for place in places]),
            in_area=np.array([self.area.holds(place) for place in places]),
            centroids=np.stack([each.centroid for each in await self.index.partitions()]),
        )

    async def _measured(self, name: str, filing: Filing) -> Stage:
        places, questions = filing.places, self.area.questions
        statistics = await self.index.statistics()
        truth = Truth.of(questions, [place.key for place in places], positions(places))
        return Stage(
            name=name,
            rows=await self.table.count(),
            nlist=statistics.nlist,
            imbalance=statistics.imbalance,
            partition_max=statistics.partition_max,
            filed_nearest=filing.filed_nearest,
            area_sizes=filing.area_sizes,
            curve=await cost_curve(self.table, questions, truth, statistics.nlist),
            answers=[
                await neighbours(self.table, place, places, index=self.index.name, nprobe=1)
                for place in self.area.asked
            ],
        )

    def _map(self, stage: Stage, filing: Filing) -> Map:
        return Map(
            title=f"{stage.name}: {stage.rows:,} places in {stage.nlist} partitions,"
            f" the largest has {stage.partition_max:,}",
            area_title=f"{RADIUS_KM:.0f} km around {self.area.centre.name}: {stage.area_text}",
            places=filing.places,
            partitions=filing.partitions,
            centroids=positions_of(filing.centroids),
            new=filing.in_area,
            centre=self.area.centre,
            radius_km=RADIUS_KM,
            answers=stage.answers,
        )

    async def rebuild(self) -> None:
        """Rebuild beside a writer and a reader, and say how long these had to wait."""
        report.statement(REBUILD)
        traffic = Traffic(self.table, self.area.inside, self.area.questions)
        before = await traffic.beside(traffic.everywhere.wait)
        during = await traffic.beside(self._rebuild)
        report.stalls(before, during)
        report.acknowledged(len(traffic.visits), await traffic.lost())

    async def _rebuild(self) -> None:
        outcome: Outcome = await self.database.execute(REBUILD)
        report.outcome(outcome)


async def run_drift(folder: Path, area: Area) -> list[Stage]:
    """Go through the three stages; leaves the database `cities.db` in the folder."""
    async with open_db(folder / "cities.db") as database:
        table = await database.create_table("cities", dim=3, metric="cosine")
        await table.upsert(*rows(area.outside))
        index = await table.create_index("cities_ivf", nlist=NLIST, seed=SEED)
        run = Run(folder, database, table, index, area)
        built = await run.observe(1, "built", area.outside)
        await table.upsert(*rows(area.inside))
        inserted = await run.observe(2, "inserted", area.outside + area.inside)
        await run.rebuild()
        rebuilt = await run.observe(3, "rebuilt", area.outside + area.inside)
        report.comparison(built, inserted, rebuilt)
        report.check((await database.check()).errors)
    stages = [built, inserted, rebuilt]
    curves = {stage.name: stage.curve for stage in stages}
    await trio.to_thread.run_sync(draw_costs, folder / "4-costs.png", curves)
    return stages
