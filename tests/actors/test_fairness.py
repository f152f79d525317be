"""Ten builds at once share the workers block by block: none overtakes the others by much."""

from collections import Counter
from contextvars import ContextVar

import pytest
import trio

from centroidb import Database, Index, Table
from centroidb.engine.actors.rebuild import budget
from centroidb.wal.blocking import substitute
from tests.model.seam import inline
from tests.support.databases import SMALL, checked_db

from .points import ALL, points, supervisor_of

BUILDS = 10
ROWS = 600
BUILD: ContextVar[str] = ContextVar("build")
"""Which build a block is of: a build's tasks have it from the task that began it."""


class CountedWorkers:
    """Build workers that count the turns of each build, and how many are under way."""

    def __init__(self, total: int) -> None:
        self._limiter = trio.CapacityLimiter(total)
        self.turns: Counter[str] = Counter()
        self.running = 0
        self.most = 0

    async def __aenter__(self) -> None:
        await self._limiter.acquire()
        self.turns[BUILD.get()] += 1
        self.running += 1
        self.most = max(self.most, self.running)

    async def __aexit__(self, *_: object) -> None:
        self.running -= 1
        self._limiter.release()


def count_turns(db: Database, total: int) -> CountedWorkers:
    """From now on builds take turns at so many workers, and are counted."""
    workers = CountedWorkers(total)
    supervisor_of(db).state.build_workers = workers  # type: ignore[assignment]
    return workers


async def many_indexes(db: Database) -> dict[str, tuple[Table, Index]]:
    """Half of the indexes on one table, half on tables of their own."""
    made = {}
    for number in range(BUILDS):
        name = f"t{max(number - BUILDS // 2, 0)}"
        table = await db.create_table(name, dim=3, if_not_exists=True)
        await table.upsert(range(ROWS), points(ROWS))
        made[f"ix{number}"] = table, await table.create_index(f"ix{number}", nlist=6)
    return made


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of a few rows, so that each build has dozens."""
    monkeypatch.setattr(budget, "block_rows", lambda _: 20)


async def all_rebuilt(
    db: Database, made: dict[str, tuple[Table, Index]], widths: dict[str, int]
) -> tuple[Counter[str], Counter[str]]:
    """Rebuild all at once; the turns taken when the first ended, and when all had."""
    workers = count_turns(db, 2)
    first: list[Counter[str]] = []

    async def rebuild(name: str, index: Index) -> None:
        BUILD.set(name)
        await index.rebuild(parallel=widths[name], nlist=7)
        first.append(workers.turns.copy())

    async with trio.open_nursery() as nursery:
        for name, (_, index) in made.items():
            nursery.start_soon(rebuild, name, index)
    assert workers.most == 2
    assert min(workers.turns.values()) > 60
    return first[0], workers.turns


@pytest.mark.parametrize("seed", range(3))
async def test_ten_builds_go_on_together(seed: int) -> None:
    """When the first of ten builds ends, every other has done at least half of its blocks."""
    with substitute(inline(seed)):
        async with checked_db(limits=SMALL) as db:
            made = await many_indexes(db)
            then, in_all = await all_rebuilt(db, made, dict.fromkeys(made, 3))
            for name, (table, index) in made.items():
                assert 2 * then[name] >= in_all[name]
                assert (await index.statistics()).nlist == 7
                hits = await table.search(points(1)[0], ROWS, nprobe=ALL, index=name)
                assert sorted(hits.ids) == list(range(ROWS))


async def test_a_narrow_build_is_not_crowded_out() -> None:
    """Beside nine builds of four lanes one of a single lane gets its turns: about a fourth."""
    with substitute(inline(1)):
        async with checked_db(limits=SMALL) as db:
            made = await many_indexes(db)
            widths = {name: 1 if name == "ix3" else 4 for name in made}
            then, in_all = await all_rebuilt(db, made, widths)
            assert 8 * then["ix3"] >= in_all["ix3"]


async def test_searches_do_not_wait_for_builds() -> None:
    """With every build worker taken a search is answered all the same."""
    async with checked_db(limits=SMALL) as db:
        made = await many_indexes(db)
        table, _ = made["ix0"]
        workers = supervisor_of(db).state.build_workers
        taken = int(workers.total_tokens)
        for borrower in range(taken):
            await workers.acquire_on_behalf_of(borrower)
        try:
            with trio.fail_after(60):
                hits = await table.search(points(1)[0], 5, nprobe=ALL)
            assert len(hits) == 5
        finally:
            for borrower in range(taken):
                workers.release_on_behalf_of(borrower)
