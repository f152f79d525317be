"""The oracle: what may be in the file, by what the victim said, and whether it is.

looked at   SQLite's recovery and integrity check, the log's chain, every row
recovered   the product's own: open, check(), every index against brute force
"""

import json
import sqlite3
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import numpy as np
import trio

from centroidb import CommitOutcomeUnknown, Database, open_db
from centroidb.engine.index.distance import distances
from centroidb.wal import log
from centroidb.wal.blocking import substitute
from tests.support.databases import SMALL, resumed

from .inline import inline
from .steps import QUERY, State, Step, vector
from .victim import FILE
from .workloads import Workload

QUERIES = 2
K = 10


class Bad(Exception):
    """Something that may not be: the text says what."""


class Expected:
    """What may be in the file; it hears what the victim says."""

    def __init__(self, workload: Workload) -> None:
        self._sessions = workload.sessions
        self._tasks: list[list[Step]] = []
        self._began: list[int] = []
        self._ended: list[int] = []
        self._failures: dict[int, str] = {}
        """How the last step of a task failed, by task."""
        self._state: State = settled({}, workload.before)
        self.may_be_missing = not workload.before
        """Whether there may be no file at all yet."""

    def hear(self, said: str) -> None:
        """One word of the victim's."""
        word, *numbers = said.split()
        if word in ("failed", "unharmed"):
            return
        if word in ("session", "end"):
            for steps in self._tasks:
                self._state = settled(self._state, steps)
            self._tasks = self._sessions[int(numbers[0])] if numbers else []
            self._began, self._ended = [0] * len(self._tasks), [0] * len(self._tasks)
        else:
            task, number, *failure = numbers
            self._hear_of_step(word, int(task), int(number), failure)

    def _hear_of_step(self, word: str, task: int, number: int, failure: list[str]) -> None:
        self.may_be_missing = False
        if word == "f":
            self._failures[task] = " ".join(failure)
        else:
            (self._began if word == "s" else self._ended)[task] = number + 1

    def judge(self, found: State) -> None:
        """Bad unless all that was acknowledged is there, and nothing that was not begun."""
        for task, steps in enumerate(self._tasks):
            self._judge_task(task, steps, found)
        others = set().union(*(touched(steps) for steps in self._tasks))
        mine = {item: number for item, number in found.items() if item not in others}
        expected = {item: number for item, number in self._state.items() if item not in others}
        if mine != expected:
            raise Bad(f"what nobody touched has changed: {difference(expected, mine)}")

    def _judge_task(self, task: int, steps: list[Step], found: State) -> None:
        items = touched(steps)
        mine = {item: number for item, number in found.items() if item in items}
        begun, ended = self._began[task], self._ended[task]
        before = settled(self._state, steps[:ended])
        failure = self._failures.get(task)
        allowed = left(steps[ended], before, failure) if begun > ended else [before]
        states = [{i: n for i, n in state.items() if i in items} for state in allowed]
        if mine not in states:
            raise Bad(
                f"task {task}, {ended} steps acknowledged and {begun} begun, {failure}: "
                f"{difference(states[0], mine)}"
            )


def left(step: Step, before: State, failure: str | None) -> list[State]:
    """What a step may leave that was not acknowledged; failure: as the victim said it."""
    name, _, written = (failure or "").partition(" ")
    if name in ("", CommitOutcomeUnknown.__name__):
        return step.outcomes(before)
    return step.after_failure(before, int(written))


def judged(made: Workload, folder: Path, said: Iterable[str]) -> State | None:
    """What the folder holds; Bad unless that may be there after these words."""
    expected = Expected(made)
    for word in said:
        expected.hear(word)
    found = look(folder)
    if found is not None:
        expected.judge(found)
    elif not expected.may_be_missing:
        raise Bad("the file is gone")
    return found


def settled(state: State, steps: Iterable[Step]) -> State:
    """The state after these steps."""
    for step in steps:
        state = step.outcomes(state)[-1]
    return state


def touched(steps: list[Step]) -> set[str]:
    """What these steps change, whatever becomes of them."""
    items: set[str] = set()
    state: State = {}
    for step in steps:
        for outcome in step.outcomes(state):
            items |= outcome.keys()
            state = outcome
        items |= step.touches()
    return items


def difference(expected: State, found: State) -> str:
    """The first few items that differ, with both values."""
    names = [i for i in sorted(expected.keys() | found.keys()) if expected.get(i) != found.get(i)]
    shown = [f"{i}: expected {expected.get(i)}, found {found.get(i)}" for i in names[:4]]
    return f"{len(names)} differ: {'; '.join(shown)}"


def look(folder: Path) -> State | None:
    """SQLite's own recovery, and all rows; None when there is no database yet."""
    path = folder / FILE
    if not path.exists() or not path.stat().st_size:
        return None
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        for (line,) in connection.execute("PRAGMA integrity_check"):
            if line != "ok":
                raise Bad(f"integrity check: {line}")
        broken = log.verify(connection)
        if broken:
            raise Bad(f"log: {broken[0]}")
        return _contents(connection)
    except sqlite3.DatabaseError as error:
        raise Bad(f"SQLite: {error}") from error
    finally:
        connection.close()


def _contents(connection: sqlite3.Connection) -> State:
    state: dict[str, int] = {}
    for table, name in connection.execute(
        "SELECT id, name FROM tables WHERE dropped_lsn IS NULL"
    ).fetchall():
        state[f"table {name}"] = 1
        for key, payload, stored in connection.execute(
            f"SELECT l.key, r.payload, r.vector FROM live_{table:d} l "
            f"LEFT JOIN rows_{table:d} r ON r.vid = l.vid"
        ):
            number = _number(payload, stored)
            if number is None:
                raise Bad(f"row {key} of {name} is torn")
            state[f"{name}/{key}"] = number
    for (name,) in connection.execute("SELECT name FROM indexes WHERE dropped_lsn IS NULL"):
        state[f"index {name}"] = 1
    for (name,) in connection.execute("SELECT idempotency_key FROM commits"):
        if name is not None:
            state[f"key {name}"] = 1
    return state


@cache
def _number(payload: str, stored: bytes) -> int | None:
    """The number of a row, which is in its payload and whose vector it must have."""
    number: int = json.loads(payload)["number"]
    return number if stored == vector(number).tobytes() else None


def recover(folder: Path, found: State, *, again: bool) -> None:
    """The product's own recovery, and every proof it offers; `again`: a second one changes nothing.

    Its rows must be those that SQLite has `found`. With `again`, builds that were cut short are
    taken up and go to their end first.
    """
    before = _run(folder / FILE, again)
    rows = {item: number for item, number in found.items() if "/" in item}
    if before != rows:
        raise Bad(f"the recovery has other rows: {difference(rows, before)}")
    left = sorted(path.name for path in folder.iterdir() if not path.name.endswith(".creating"))
    if left != [FILE]:
        raise Bad(f"after the close there are {left}")
    if again and _run(folder / FILE, again) != before:
        raise Bad("a second recovery has changed something")


def _run(path: Path, to_the_end: bool) -> State:
    """Threads cost half of the time, and a recovery is alone."""
    with substitute(inline):
        return trio.run(_recovered, path, to_the_end)


async def _recovered(path: Path, to_the_end: bool) -> State:
    async with open_db(path, limits=SMALL, on_open="resume" if to_the_end else "keep") as database:
        if to_the_end:
            await resumed(database)
        findings = await database.check()
        if findings.errors:
            raise Bad(f"check: {findings.errors[0]}")
        state: dict[str, int] = {}
        for table in await database.tables():
            rows = {row.id: row async for row in table.iterate(vectors=True)}
            numbers = {int(key): row.payload["number"] for key, row in rows.items()}
            for key, row in rows.items():
                if (
                    row.vector is None
                    or row.vector.tobytes() != vector(numbers[int(key)]).tobytes()
                ):
                    raise Bad(f"row {key} of {table.name} is read with another vector")
            state |= {f"{table.name}/{key}": number for key, number in numbers.items()}
            await _compare(database, table.name, numbers)
    return state


async def _compare(database: Database, name: str, numbers: dict[int, int]) -> None:
    """Every partition of every index gives what brute force gives, bit for bit."""
    stored = np.array([vector(number) for number in numbers.values()])
    table = await database.table(name)
    indexes = [i.name for i in await database.indexes() if (await i.statistics()).table == name]
    for query in (vector(QUERY + at) for at in range(QUERIES if numbers else 0)):
        measured = np.sort(distances("l2", query, stored))[:K].tobytes()
        for index in [None, *indexes]:
            hits = await table.search(query, K, nprobe=1_000, index=index, exact=index is None)
            if hits.distances.tobytes() != measured:
                raise Bad(f"table {name}, index {index}: a search differs from brute force")
