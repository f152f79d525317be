"""The victim: it runs a workload, and says what it begins and what was acknowledged."""

from collections.abc import Callable
from pathlib import Path

import trio

from centroidb import ActorDied, CentroiDBError, Database, WriteResult, open_db
from tests.support.databases import SMALL

from . import formats
from .steps import Step
from .workloads import Workload

FILE = "victim.db"

Say = Callable[[str], None]
"""Takes `s 2 17` (task 2 begins its step 17), `a 2 17` (it was acknowledged), and
`f 2 17 DiskFullError 0` (it failed so, and said that no rows were written)."""


def prepare(workload: Workload, folder: Path) -> None:
    """What was there before: nothing, or a closed file."""
    if workload.before:
        with formats.before(workload):
            trio.run(_session, [workload.before], folder, lambda _: None)


def live(workload: Workload, folder: Path, say: Say, *, tolerant: bool = False) -> None:
    """All sessions. tolerant: the first typed error is the end of them."""
    for number, tasks in enumerate(workload.sessions):
        say(f"session {number}")
        try:
            trio.run(_session, tasks, folder, say)
        except CentroiDBError as error:
            if tolerant and not isinstance(error, ActorDied):
                return
            raise
    say("end")


async def _session(tasks: list[list[Step]], folder: Path, say: Say) -> None:
    async with open_db(folder / FILE, limits=SMALL) as database, trio.open_nursery() as nursery:
        for task, steps in enumerate(tasks):
            nursery.start_soon(_task, database, task, steps, say)


async def _task(database: Database, task: int, steps: list[Step], say: Say) -> None:
    for number, step in enumerate(steps):
        say(f"s {task} {number}")
        try:
            await step.do(database)
        except CentroiDBError as error:
            say(f"f {task} {number} {failure(error)}")
            raise
        say(f"a {task} {number}")


def failure(error: CentroiDBError) -> str:
    """What a typed error says: its name, and how many rows the call had written before it."""
    done = error.written
    rows = done.inserted + done.updated + done.deleted if isinstance(done, WriteResult) else 0
    return f"{type(error).__name__} {rows}"
