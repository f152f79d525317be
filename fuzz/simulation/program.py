"""What is done in one life of a simulated database: a program drawn for the state it begins in.

writers    three tasks, each with rows of its own: small and large writes, transactions, reads
keeper     the last task, which changes what there is: builds, rebuilds, drops, vacuums

The keeper's steps may be refused, since those before them may have failed: an index that is not
there, say.  A writer's are not, once there is the table.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from centroidb import Database

from ..steps import (
    QUERY,
    CreateIndex,
    CreateTable,
    Delete,
    DropIndex,
    DropTable,
    Look,
    Reorganize,
    Rollback,
    State,
    Step,
    Upsert,
    Vacuum,
    vector,
)
from ..workloads import KEYS, Draw

WRITERS = 3
STEPS = (1, 5)
NUMBERS_A_LIFE = 100_000
"""Vector numbers, and idempotency keys, of one life are never those of another."""
K = 7

Saw = Callable[[str, dict[str, int]], None]
"""Gets a table and its rows: vector numbers by key."""
Answered = Callable[[str], None]
"""Gets what a search answered."""


@dataclass(frozen=True)
class Ask(Step):
    """One snapshot is read in every way, and all must agree."""

    table: str
    query: int

    async def do(self, database: Database) -> None:
        await self.ask(database, lambda *_: None, lambda _: None)

    async def ask(self, database: Database, saw: Saw, answered: Answered) -> None:
        """Read it, and say what was seen and answered."""
        table = await database.table(self.table)
        async with database.snapshot() as snapshot:
            rows = {row.id: row async for row in snapshot.iterate(self.table, vectors=True)}
            numbers = {str(key): row.payload["number"] for key, row in rows.items()}
            saw(self.table, numbers)
            assert await table.search(vector(self.query), snapshot=snapshot) is not None
            query = vector(QUERY + self.query)
            exact = await snapshot.search(self.table, query, K, exact=True)
            found = await snapshot.search(self.table, query, K, nprobe=1_000)
            got = await snapshot.get(self.table, list(rows))
        answered(f"{exact.ids} {exact.distances.tobytes().hex()}")
        _compare(numbers, exact.ids, query)
        assert exact.ids == found.ids, f"an index finds {found.ids}, not {exact.ids}"
        assert exact.distances.tobytes() == found.distances.tobytes(), "distances differ"
        assert [row.id for row in got] == list(rows), "get and iterate differ"
        for row in rows.values():
            assert row.vector is not None
            assert row.vector.tobytes() == vector(row.payload["number"]).tobytes(), "torn"


def _compare(numbers: dict[str, int], ids: list[int], query: np.ndarray) -> None:
    """An exact search finds what brute force finds."""
    far = {
        int(key): float(np.linalg.norm(vector(number).astype(float) - query))
        for key, number in numbers.items()
    }
    nearest = sorted(far.values())[:K]
    assert np.allclose([far[key] for key in ids], nearest, atol=1e-5), "not the nearest rows"


def drawn(chance: random.Random, state: State, life: int) -> list[list[Step]]:
    """The tasks of a life that begins in this state."""
    draw = Draw(chance, life * NUMBERS_A_LIFE, life * NUMBERS_A_LIFE)
    tasks = [_writer(draw, task, state) for task in range(chance.randint(1, WRITERS))]
    return [*tasks, _keeper(draw, state)]


def _writer(draw: Draw, task: int, state: State) -> list[Step]:
    return [_write(draw, task, state) for _ in range(draw.chance.randint(*STEPS))]


def _write(draw: Draw, task: int, state: State) -> Step:
    kind = draw.chance.random()
    if kind < 0.2:
        return Ask("t", draw.chance.randrange(50))
    if kind < 0.35 and "table u" in state:
        return draw.transaction(task)
    if kind < 0.45:
        return draw.upsert("t", task, KEYS)
    if kind < 0.5:
        return Look("t", tuple(draw.changes(task, 2)))
    return draw.change(task)


def _keeper(draw: Draw, state: State) -> list[Step]:
    steps: list[Step] = [] if "table t" in state else [CreateTable("t")]
    if "table u" not in state:
        steps.append(CreateTable("u"))
    if "index i" not in state:
        steps.append(CreateIndex("t", "i", (("nlist", draw.chance.randint(2, 6)),)))
    kinds = [_rebuild, _rebuild, _kept, _reorganize, _vacuum, _dropped, _beside]
    for _ in range(draw.chance.randint(0, 2)):
        steps += draw.chance.choice(kinds)(draw, state)
    return steps


def _rebuild(draw: Draw, _: State) -> list[Step]:
    options: list[dict[str, object]] = [
        {},
        {"throttle": 0.5},
        {"throttle": 200},
        {"max_duration": 1.0},
    ]
    return [draw.rebuild(**draw.chance.choice(options))]


def _kept(draw: Draw, _: State) -> list[Step]:
    return [draw.rebuild(keep_previous=1), Rollback("i")]


def _reorganize(draw: Draw, _: State) -> list[Step]:  # noqa: ARG001 - one of a kind
    return [Reorganize("i")]


def _vacuum(draw: Draw, _: State) -> list[Step]:  # noqa: ARG001 - one of a kind
    return [Vacuum()]


def _dropped(draw: Draw, _: State) -> list[Step]:
    codec = draw.chance.choice(("flat", "sq8"))
    return [DropIndex("i"), CreateIndex("t", "i", (("nlist", 3), ("codec", codec)))]


def _beside(draw: Draw, state: State) -> list[Step]:
    """Another table, with an index, or the end of it."""
    if "table v" in state:
        return [DropTable("v", ("j",))]
    keys = draw.chance.sample(range(100), 60)
    draw.number += len(keys)
    rows = {key: draw.number - at for at, key in enumerate(keys)}
    return [
        CreateTable("v"),
        Upsert("v", rows),
        CreateIndex("v", "j", (("nlist", 3),)),
        Delete("v", tuple(keys[:5])),
    ]
