"""How a history is lived: one `trio.run` on a file of its own, reopened where it says so."""

import tempfile
from collections import deque
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import trio
from trio.testing import MockClock

from tests.support.databases import SMALL, checked_db

from .indexing import CreateIndex, CreateTable, Reopen, settled
from .reading import AskAgain, compare_now
from .world import IndexKind, World
from .writing import Rows, Upsert

LONGEST = 60
CACHES = (0, 1 << 20)
"""Nothing is kept in memory, or everything."""
DEADLOCK_S = 100_000
"""By the mocked clock, which jumps only when every task waits."""

KINDS_OF_INDEX = [
    IndexKind("flat", "exact"),
    IndexKind("sq8", "exact"),
    IndexKind("flat", "hnsw"),
    IndexKind("sq8", "hnsw"),
]

BEGINNING = [
    CreateTable("a"),
    CreateTable("b"),
    Upsert(Rows("a", [(at, 7 * at) for at in range(60)])),
    CreateIndex("i0", "a", "l2", 8, 0),
]


def run(
    kind: IndexKind,
    history: list[Any],
    cache_bytes: int,
    seam: AbstractContextManager[None],
    clock: MockClock | None,
) -> None:
    """Run one history, on a file of its own."""
    with tempfile.TemporaryDirectory() as folder, seam:
        path = Path(folder) / "model.db"
        trio.run(partial(live_through, path, kind, history, cache_bytes), clock=clock)


async def live_through(path: Path, kind: IndexKind, history: list[Any], cache_bytes: int) -> None:
    """All operations, the database being reopened where they say so, and once more at the end."""
    world = World(kind)
    left = deque([*BEGINNING, *history])
    opening = Reopen()
    with trio.fail_after(DEADLOCK_S):
        while left:
            opening = await live_until_reopened(path, world, left, opening, cache_bytes)
        async with checked_db(path, limits=SMALL, durability="relaxed") as db:
            await settled(db)
            await compare_now(world.elsewhere(db))
    assert [each.name for each in path.parent.iterdir()] == [path.name]


async def live_until_reopened(
    path: Path, world: World, left: deque[Any], opening: Reopen, cache_bytes: int
) -> Reopen:
    """Operations up to the next `Reopen`, which is returned."""
    options: dict[str, Any] = {"cache_bytes": cache_bytes, "on_open": opening.on_open}
    async with (
        trio.open_nursery() as builds,
        checked_db(path, limits=SMALL, durability="relaxed", **options) as db,
        world.session(db, builds),
    ):
        while left:
            operation = left.popleft()
            if isinstance(operation, Reopen):
                opening = operation
                break
            await operation.run(world)
        await AskAgain().run(world)
        await compare_now(world)
        await world.let_go()
        if not db._source.supervisor().state.builds:
            await settled(db)
    return opening
