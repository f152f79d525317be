"""The workloads: small bounded programs on the public API, each drawn from a seed.

A workload is a list of sessions; the database is opened for each and closed after it.  The tasks
of a session run side by side and touch different rows, so what one of them leaves behind does not
depend on the others.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from .steps import (
    CROWDED,
    CreateIndex,
    CreateTable,
    Delete,
    DropIndex,
    DropTable,
    Look,
    Rebuild,
    Reorganize,
    Rollback,
    Step,
    Transaction,
    Upsert,
    Vacuum,
    Verify,
)

KEYS = 40
"""Keys of one task: its rows are written again and again."""
CODECS = ("flat", "sq8")

Tasks = list[list[Step]]


@dataclass(frozen=True)
class Workload:
    """What is done before anything is watched, and what is watched."""

    name: str
    before: list[Step]
    sessions: list[Tasks]
    migrates: bool = False
    """Whether the file is of an older format at first."""


@dataclass
class Draw:
    """Steps from a seed. Vector numbers are never used twice, so a stale row is seen."""

    chance: random.Random
    number: int = 0
    keys_named: int = field(default=0)

    def upsert(self, table: str, task: int, count: int, *, first: int = 0) -> Upsert:
        """So many of the task's rows; their vectors have numbers from `first` on."""
        keys = self.chance.sample(range(task * KEYS, task * KEYS + KEYS), count)
        self.number += count
        return Upsert(table, {key: first + self.number - at for at, key in enumerate(keys)})

    def delete(self, table: str, task: int, count: int) -> Delete:
        """So many of the task's keys, whether they are there or not."""
        keys = self.chance.sample(range(task * KEYS, task * KEYS + KEYS), count)
        return Delete(table, tuple(keys))

    def transaction(self, task: int) -> Transaction:
        """Writes to the tables t and u."""
        self.keys_named += 1
        writes = (
            self.upsert("t", task, self.chance.randint(1, 6)),
            self.delete("t", task, 2),
            self.upsert("u", task, self.chance.randint(1, 6)),
        )
        return Transaction(writes, key=f"k{self.keys_named}")

    def change(self, task: int) -> Step:
        """Any small write to t."""
        if self.chance.random() < 0.3:
            return self.delete("t", task, self.chance.randint(1, 8))
        return self.upsert("t", task, self.chance.randint(1, 12))

    def changes(self, task: int, count: int) -> list[Step]:
        """Several of them."""
        return [self.change(task) for _ in range(count)]

    def filled(self) -> list[Step]:
        """A table with rows of three tasks."""
        return [CreateTable("t"), *(self.upsert("t", task, KEYS) for task in range(3))]

    def indexed(self) -> list[Step]:
        """The same with an index."""
        options = (("nlist", self.chance.randint(2, 6)), ("codec", self.chance.choice(CODECS)))
        return [*self.filled(), CreateIndex("t", "i", options)]

    def rebuild(self, **options: object) -> Rebuild:
        """With another number of partitions, and two threads now and then."""
        drawn = {"nlist": self.chance.randint(2, 7), "parallel": self.chance.randint(1, 2)}
        return Rebuild("i", tuple((drawn | options).items()))


def crud(draw: Draw) -> Workload:
    """Three writers."""
    return Workload("crud", draw.filled(), [[draw.changes(task, 6) for task in range(3)]])


def transactions(draw: Draw) -> Workload:
    """Three writers who change two tables at once."""
    tasks: Tasks = [[draw.transaction(task) for _ in range(4)] for task in range(3)]
    return Workload("transactions", [*draw.filled(), CreateTable("u")], [tasks])


def bulk(draw: Draw) -> Workload:
    """Many rows in one call, beside another writer, with an index."""
    tasks: Tasks = [[draw.upsert("t", 0, KEYS), draw.upsert("t", 0, KEYS)], draw.changes(1, 3)]
    return Workload("bulk", draw.indexed(), [tasks])


def snapshots(draw: Draw) -> Workload:
    """Snapshots held over writes, folds and a rebuild."""
    looks: list[Step] = [
        Look("t", (*draw.changes(0, 3), draw.delete("t", 0, KEYS), Vacuum())),
        Look("t", (draw.rebuild(),)),
    ]
    return Workload("snapshots", draw.indexed(), [[looks, draw.changes(1, 4)]])


def ddl(draw: Draw) -> Workload:
    """Tables and indexes come and go."""
    steps: list[Step] = [
        CreateTable("v"),
        Upsert("v", {key: key + 1 for key in range(60)}),
        CreateIndex("v", "j", (("nlist", 3),)),
        DropIndex("i"),
        CreateIndex("v", "k"),
        DropTable("v", ("j", "k")),
        Vacuum(),
        CreateTable("v"),
    ]
    return Workload("ddl", draw.indexed(), [[steps]])


def build(draw: Draw) -> Workload:
    """An index is made beside writers."""
    made: list[Step] = [CreateIndex("t", "i", (("nlist", 4),))]
    return Workload("build", draw.filled(), [[made, draw.changes(1, 3)]])


def rebuild(draw: Draw) -> Workload:
    """Rebuilds beside a writer: static phase, catch-up, swap, retirement."""
    steps: list[Step] = [draw.rebuild(), Verify("t"), draw.rebuild(), Verify("t")]
    tasks: Tasks = [steps, draw.changes(1, 6)]
    return Workload("rebuild", draw.indexed(), [tasks])


def rollback(draw: Draw) -> Workload:
    """A generation is replaced, kept, and taken back, beside a writer."""
    steps: list[Step] = [draw.rebuild(keep_previous=1), *draw.changes(0, 2), Vacuum()]
    steps += [Rollback("i"), Verify("t")]
    return Workload("rollback", draw.indexed(), [[steps, draw.changes(1, 4)]])


def reorganize(draw: Draw) -> Workload:
    """Splits and merges beside a writer."""
    first = [*draw.indexed(), *(draw.upsert("t", task, KEYS, first=CROWDED) for task in (0, 2))]
    steps: list[Step] = [Reorganize("i"), draw.upsert("t", 0, KEYS), Reorganize("i"), Verify("t")]
    return Workload("reorganize", first, [[steps, draw.changes(1, 4)]])


def fold(draw: Draw) -> Workload:
    """So many small writes that deltas are folded, the log is cut and the WAL is emptied."""
    tasks: Tasks = [draw.changes(task, 12) for task in range(2)]
    return Workload("fold", draw.indexed(), [tasks])


def truncate(draw: Draw) -> Workload:
    """Rebuilds beside a writer who has the log cut."""
    steps: list[Step] = []
    for _ in range(4):
        steps += [*draw.changes(1, 3), Vacuum()]
    return Workload("truncate", draw.indexed(), [[[draw.rebuild(), draw.rebuild()], steps]])


def vacuum(draw: Draw) -> Workload:
    """Purges, compactions and returned pages, beside a writer."""
    steps: list[Step] = []
    for _ in range(3):
        steps += [draw.delete("t", 0, 30), draw.upsert("t", 0, KEYS), Vacuum(), Verify("t")]
    return Workload("vacuum", draw.indexed(), [[steps, draw.changes(1, 4)]])


def reopen(draw: Draw) -> Workload:
    """Three short sessions, each closed cleanly."""
    sessions: list[Tasks] = [[draw.changes(0, 2), draw.changes(1, 2)] for _ in range(3)]
    return Workload("reopen", draw.indexed(), sessions)


def create(draw: Draw) -> Workload:
    """A file comes into being."""
    return Workload("create", [], [[[CreateTable("t"), draw.upsert("t", 0, 20)]]])


def migrate(draw: Draw) -> Workload:
    """A file of the format before is opened and written."""
    return Workload("migrate", draw.indexed(), [[draw.changes(0, 2)]], migrates=True)


def small_writes(draw: Draw) -> Workload:
    """A write of each kind."""
    steps: list[Step] = [draw.upsert("t", 0, 3), draw.delete("t", 0, 5), draw.transaction(0)]
    return Workload("small_writes", [*draw.filled(), CreateTable("u")], [[steps]])


def small_ddl(draw: Draw) -> Workload:
    """A table comes and goes."""
    steps: list[Step] = [CreateTable("v"), CreateIndex("v", "k"), DropTable("v", ("k",))]
    return Workload("small_ddl", draw.filled(), [[steps]])


def small_build(draw: Draw) -> Workload:
    """An index is made."""
    return Workload("small_build", draw.filled(), [[[CreateIndex("t", "i", (("nlist", 2),))]]])


def small_rebuild(draw: Draw) -> Workload:
    """An index is rebuilt, with a write."""
    steps: list[Step] = [draw.upsert("t", 0, 3), Rebuild("i", (("nlist", 2), ("parallel", 1)))]
    return Workload("small_rebuild", draw.indexed(), [[steps]])


def small_vacuum(draw: Draw) -> Workload:
    """Rows go, and give their space back; then a session of one write."""
    steps: list[Step] = [draw.delete("t", 0, KEYS), Vacuum()]
    return Workload("small_vacuum", draw.indexed(), [[steps], [[draw.upsert("t", 1, 2)]]])


Maker = Callable[[Draw], Workload]

MAKERS: tuple[Maker, ...] = (
    *(crud, transactions, bulk, snapshots, ddl, build, rebuild, rollback, reorganize, fold),
    *(truncate, vacuum, reopen, create, migrate),
)
SMALL_MAKERS: tuple[Maker, ...] = (
    *(small_writes, small_ddl, small_build, small_rebuild, small_vacuum),
)
NAMES = tuple(maker.__name__ for maker in MAKERS)
SMALL_NAMES = tuple(maker.__name__ for maker in SMALL_MAKERS)
"""Of few file operations, so that each of them can be tried."""


def workload(name: str, seed: int) -> Workload:
    """The workload of this name, from a seed."""
    maker = next(maker for maker in (*MAKERS, *SMALL_MAKERS) if maker.__name__ == name)
    return maker(Draw(random.Random(f"{name} {seed}")))
