"""Damage: a file is damaged in some way, and must not answer wrongly, hang, crash or eat memory.

read        read-only: every row, searches by each index and exactly; of a part of them also
check       `check()`, and an open with verify="full", which must agree with each other
owner       an open for writing, the same questions, a write, a close
wrong       an answer that is another one: a defect where a checksum stands over what was hit;
            elsewhere check() and verify="full" must both tell
older       damage in a WAL cuts it there, as SQLite has it: the answers must be those of the file
            with its WAL cut at some commit
"""

import random
import resource
import signal
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache, partial
from pathlib import Path

import trio

from centroidb import NotFoundError, open_db
from centroidb.wal.blocking import substitute
from tests.support.databases import SMALL

from ..case import Campaign, Result, scratch
from ..inline import inline
from ..oracle import Bad
from .harms import WAL, Damaged, Harms
from .places import commits
from .reading import Answers, Reading, read, refused
from .victims import KINDS, vectors, victim, write

FILES = 105
"""Damaged files of a case."""
CASES = 24
"""Of each kind of victim, a round."""
LEFT_OUT = 0.6
"""Share of the searches and look-ups that are left out, file by file."""
CHECKED_ONE_IN = 8
PROVEN_ONE_IN = 4
OWNED_ONE_IN = 20
FILE_MAX_S = 5.0
HANG_S = 60
"""The process ends when one file takes so long."""
MEMORY_BYTES = 512 << 20
"""How much more than before a file may take."""


def run(text: str) -> Result:
    """`<kind> <seed of the victim> <number>`."""
    kind, seed, _ = text.split()
    made = victim(kind, int(seed))
    with scratch() as folder, bounded_memory(), substitute(inline):
        earlier = older(kind, int(seed))
        try:
            return trio.run(Trial(folder / "victim", text, earlier).run, Harms(made), made.now)
        finally:
            signal.alarm(0)


@contextmanager
def bounded_memory(nbytes: int = MEMORY_BYTES) -> Iterator[None]:
    """More than a share of memory is refused, which shows as an error that is not typed."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    most = pages * resource.getpagesize() + nbytes
    resource.setrlimit(resource.RLIMIT_AS, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@cache
def older(kind: str, seed: int) -> list[Answers]:
    """What a victim answers with its WAL cut at each of its commits."""
    made, found = victim(kind, seed).now, []
    wal = made.get(WAL, b"")
    with scratch() as folder:
        for end in commits(wal):
            path = write({**made, WAL: wal[:end]}, folder / "victim")
            found.append(trio.run(partial(read, path, read_only=True)).answers)
    return found


class Trial:
    """Many damaged files of one victim; `earlier`: its answers at each commit of its WAL."""

    def __init__(self, folder: Path, text: str, earlier: list[Answers]) -> None:
        self.result = Result()
        self._folder = folder
        self._chance = random.Random(text)
        self._right: Answers = {}
        self._earlier = earlier
        self._found: list[str] = []
        """Of the file under trial."""

    async def run(self, harms: Harms, whole: dict[str, bytes]) -> Result:
        """All of them."""
        reading = await read(write(whole, self._folder), read_only=True)
        if reading.said:
            raise Bad(f"the whole file is refused: {reading.said}")
        self._right = reading.answers
        for number in range(FILES):
            damaged = harms.draw(self._chance)
            signal.alarm(HANG_S)
            began_s = time.monotonic()
            try:
                await self._one(damaged)
            except Exception:  # noqa: BLE001 - whatever is not typed is a defect
                where = traceback.format_exc()
                self.result.found.append(f"file {number}, {damaged.how}: {where}")
            if time.monotonic() - began_s > FILE_MAX_S:
                self.result.found.append(f"file {number}, {damaged.how}: too slow")
            self.result.found += [f"file {number}, {each}" for each in self._found]
            self._found = []
        return self.result

    async def _one(self, damaged: Damaged) -> None:
        tried = self.result.tried
        path = write(damaged.files, self._folder)
        reading = await read(path, lambda: self._chance.random() < LEFT_OUT, read_only=True)
        tried["searches asked"] += reading.asked["search"]
        tried["damaged files read"] += 1
        tried["answered rightly"] += not reading.said and not self._wrong(reading)
        tried["typed errors"] += bool(reading.said)
        wrong = self._wrong(reading)
        if reading.said["MemoryError"]:
            self._found.append(f"{damaged.how}: it takes much memory")
        if wrong:
            await self._judge(damaged, wrong, reading.answers)
        elif self._chance.randrange(CHECKED_ONE_IN) == 0:
            await self._check(damaged)
        if self._chance.randrange(OWNED_ONE_IN) == 0:
            await self._own(damaged)

    def _wrong(self, reading: Reading) -> list[str]:
        return [what for what, found in reading.answers.items() if found != self._right[what]]

    async def _judge(self, damaged: Damaged, wrong: list[str], answers: Answers) -> None:
        """A wrong answer: is it excused?"""
        told = await self._check(damaged)
        if damaged.in_wal:
            self._judge_older(damaged, answers)
        elif damaged.checked:
            self._found.append(f"{damaged.how}: a wrong answer: {wrong}")
        elif told:
            self.result.tried["wrong, and check tells"] += 1
        else:
            self._found.append(f"{damaged.how}: a wrong answer, and check does not tell: {wrong}")

    def _judge_older(self, damaged: Damaged, answers: Answers) -> None:
        self.result.tried["older states"] += 1
        if not any(answers.items() <= state.items() for state in self._earlier):
            self._found.append(f"{damaged.how}: the answers are of no commit")

    async def _check(self, damaged: Damaged) -> bool:
        """Whether check() tells; verify="full" must say the same."""
        self.result.tried["checked"] += 1
        told = await self._told(damaged)
        if self._chance.randrange(PROVEN_ONE_IN) == 0 or told:
            self.result.tried["proven at open"] += 1
            path = write(damaged.files, self._folder)
            proven = False
            with refused():
                async with open_db(path, read_only=True, verify="full"):
                    proven = True
            if told == proven:
                self._found.append(f"{damaged.how}: check tells {told}, verify {not proven}")
        return told

    async def _told(self, damaged: Damaged) -> bool:
        path = write(damaged.files, self._folder)
        with refused():
            async with open_db(path, read_only=True) as database:
                return bool((await database.check()).errors)
        return True

    async def _own(self, damaged: Damaged) -> None:
        """An open for writing answers rightly too, and takes a write or refuses it."""
        self.result.tried["opened for writing"] += 1
        path = write(damaged.files, self._folder)
        reading = await read(path)
        wrong = self._wrong(reading)
        if wrong and damaged.checked:
            self._found.append(f"{damaged.how}: a wrong answer to its owner: {wrong}")
        path = write(damaged.files, self._folder)
        written = vectors(1, 5)
        with refused(), suppress(NotFoundError):
            async with open_db(path, limits=SMALL, mode="open") as database:
                table = await database.table("ints")
                await table.upsert([5], written)
                row = await table.get(5, vectors=True)
                if row is None or row.vector is None or row.vector.tobytes() != written.tobytes():
                    self._found.append(f"{damaged.how}: what its owner wrote is read as {row}")


def cases(number: int) -> Iterator[str]:
    """Each kind of victim, its seed that of the round."""
    yield from (f"{kind} {number} {case}" for case in range(CASES) for kind in KINDS)


CAMPAIGN = Campaign(
    "damage",
    cases,
    run,
    {
        "damaged files read": 5_000,
        "answered rightly": 500,
        "checked": 600,
        "opened for writing": 200,
    },
)
