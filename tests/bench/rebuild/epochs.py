"""Epochs: many small changes, and what each policy of maintenance makes of them.

    epoch   delete, insert, vacuum -> each policy looks after its index -> rows read at recall 0.95

All policies see the same table: each has an index of its own on it.  Ended rows are purged before
the searches, so that what differs is the partitions.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import trio

from centroidb import Database, Index, Table
from tests.bench import data
from tests.bench.rebuild.accuracy import measure
from tests.bench.rebuild.automatic import later
from tests.bench.rebuild.drift import opened
from tests.bench.rebuild.stream import Epoch, Kind, stream
from tests.bench.recall import K, at_recall
from tests.bench.sweep import Exam

ROWS = 50_000
LOPSIDED = 1.5
EVERY = 10
"""A full rebuild at the latest after so many epochs."""

Policy = Callable[[Index, int], Awaitable[object]]
"""Looks after an index at the end of the epoch of this number."""


async def none(index: Index, number: int) -> None:
    """Nothing is done."""
    await trio.lowlevel.checkpoint()


async def local(index: Index, number: int) -> None:
    """Partitions that went wrong are split and merged."""
    await index.reorganize()


async def full(index: Index, number: int) -> None:
    """A rebuild when the partitions are lopsided, and every ten epochs."""
    if (await index.statistics()).imbalance > LOPSIDED or number % EVERY == 0:
        await index.rebuild()


async def automatic(index: Index, number: int) -> None:
    """Its own affair."""
    await later(index)


POLICIES: dict[str, Policy] = {"none": none, "local": local, "full": full, "automatic": automatic}


@dataclass
class Course:
    """One policy's index through the epochs."""

    index: Index
    look_after: Policy
    rows_read: list[float] = field(default_factory=list)
    jobs: dict[int, float] = field(default_factory=dict)
    """Seconds of each job of maintenance."""

    async def end(self, database: Database, table: Table, exam: Exam, number: int) -> None:
        """Maintenance, then searches; in the first epoch the index is new, which is not counted."""
        if number:
            await self.look_after(self.index, number)
        for job in await database.jobs():
            if job.index == self.index.name:
                seconds = (job.updated_ns - job.started_ns) / 1e9
                self.jobs.setdefault(job.id, seconds if number else 0.0)
        points = await measure(table, exam, index=self.index.name)
        self.rows_read.append(at_recall(points, "rows_read"))


async def run(kind: Kind, path: Path, rows: int) -> dict[str, Any]:
    """Rows read by epoch, and seconds of maintenance, of each policy."""
    courses: dict[str, Course] = {}
    async with opened(path) as (database, table):
        for number, epoch in enumerate(stream(kind, rows)):
            await table.delete(epoch.deleted)
            await table.upsert(epoch.inserted_keys, epoch.inserted)
            await database.vacuum()
            courses = courses or await begun(table)
            exam = judged(epoch)
            for course in courses.values():
                await course.end(database, table, exam, number)
    return {
        name: {"rows_read": course.rows_read, "seconds": sum(course.jobs.values())}
        for name, course in courses.items()
    }


async def begun(table: Table) -> dict[str, Course]:
    """An index for each policy."""
    courses = {}
    for name, policy in POLICIES.items():
        auto_rebuild: Literal["on", "off"] = "on" if policy is automatic else "off"
        index = await table.create_index(name, auto_rebuild=auto_rebuild)
        courses[name] = Course(index, policy)
    return courses


def judged(epoch: Epoch) -> Exam:
    """What searches at the end of the epoch are judged by."""
    _, distances = data.nearest(epoch.vectors, epoch.queries, K)
    return Exam(epoch.keys, epoch.vectors, epoch.queries, distances[:, -1].tolist())
