"""A crash: a child process that writes and rebuilds is killed, and the file is opened again.

child    insert places, print the key of each one that was acknowledged
         rebuild the index beside it, print how far it is
parent   read what the child prints, kill it (SIGKILL) when both are under way
         open the file: is every printed key there, as it was sent, and is check() clean?
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from subprocess import PIPE

import trio

from ...db import Database, JobStatus, Table, open_db
from ..demo import report
from .places import Place, rows

WRITES_MIN = 100
"""The kill waits for this many acknowledged inserts."""
POLL_S, PATIENCE_S = 0.05, 60
PROGRESS_MIN, PROGRESS_MAX = 35, 70
"""And for a rebuild that has begun to assign rows, and is not over before the kill comes."""


@dataclass
class Child:
    """What the child process printed until it was killed."""

    acknowledged: list[int] = field(default_factory=list)
    progress: str = ""

    @property
    def is_in_the_middle(self) -> bool:
        """Whether it has written a good deal and is well into a rebuild."""
        return len(self.acknowledged) >= WRITES_MIN and PROGRESS_MIN <= self.percent <= PROGRESS_MAX

    @property
    def percent(self) -> int:
        """How much of the rebuild is done."""
        return int(self.progress.rpartition(" ")[2].rstrip("%")) if self.progress else 0

    def hear(self, line: str) -> None:
        """Take in one line."""
        kind, rest = line.split(maxsplit=1)
        if kind == "acknowledged":
            self.acknowledged.append(int(rest))
        else:
            self.progress = rest


@dataclass(frozen=True)
class Recovery:
    """What was there after the kill."""

    rows: int
    acknowledged: int
    missing: int
    rebuild: str
    """the state of the rebuild that was cut short"""
    errors: tuple[str, ...]


async def run_crash(path: Path, places: Sequence[Place]) -> Recovery:
    """Kill a child that rebuilds the index in the database at `path`; then see what is there."""
    child = await kill_while_rebuilding(path)
    report.killed(len(child.acknowledged), child.progress)
    sent = {place.key: place for place in places}
    async with open_db(path) as database:
        table = await database.table("cities")
        lost = await missing(table, [sent[key] for key in child.acknowledged])
        job = await last_job(database)
        count, errors = await table.count(), (await database.check()).errors
        report.reopened(count, len(child.acknowledged), lost, job)
        report.check(errors)
    return Recovery(count, len(child.acknowledged), len(lost), job.state, errors)


async def last_job(database: Database) -> JobStatus:
    """The rebuild that was cut short, once it is no longer under way."""
    with trio.fail_after(PATIENCE_S):
        while True:
            job = (await database.jobs())[0]
            if job.state not in ("running", "interrupted"):
                return job
            await trio.sleep(POLL_S)


async def missing(table: Table, places: Sequence[Place]) -> list[Place]:
    """The places that the table does not hold, or not with their vector and payload."""
    _, vectors, payloads = rows(places)
    held = await table.get([place.key for place in places], vectors=True)
    return [
        place
        for place, vector, payload, row in zip(places, vectors, payloads, held, strict=True)
        if row is None or row.payload != payload or row.vector.tobytes() != vector.tobytes()
    ]


async def kill_while_rebuilding(path: Path) -> Child:
    """Start the child and kill it in the middle."""
    child = Child()
    command = [sys.executable, "-m", f"{__package__}.child", str(path)]
    async with trio.open_nursery() as nursery:
        process: trio.Process = await nursery.start(
            partial(trio.run_process, command, stdout=PIPE, check=False)
        )
        await listen(process, child)
    if process.returncode is None or process.returncode >= 0:
        raise RuntimeError(f"the child ended by itself, with exit code {process.returncode}")
    return child


async def listen(process: trio.Process, child: Child) -> None:
    """Hear the child to its end, and bring that about."""
    assert process.stdout is not None
    unfinished = b""
    async for printed in process.stdout:
        *lines, unfinished = (unfinished + printed).split(b"\n")
        for line in lines:
            child.hear(line.decode())
        if child.is_in_the_middle:
            process.kill()
