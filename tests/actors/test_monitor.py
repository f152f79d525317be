"""The Monitor: what it measures, decides, writes down and does, by a clock that tests move."""

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from centroidb import Database, Index, RebuildRejected, Table
from centroidb.engine.actors.monitor import FAILED_QUIET_S, PERIOD_S, QUIET_S, SAMPLE_EVERY_S
from centroidb.engine.actors.sampling import sample
from centroidb.engine.actors.state import State
from centroidb.engine.index.health import Measured
from centroidb.engine.index.parameters import AutoRebuild
from centroidb.engine.index.policy import NOTHING, Decision
from centroidb.engine.storage.indexes import IndexState
from centroidb.wal.blocking import substitute
from centroidb.wal.types import IndexId
from tests.model.seam import inline
from tests.support.databases import SMALL, checked_db

from .points import filled, points, supervisor_of

UNSAMPLED = 80
"""Rows below `gate_rows`: no sample is taken."""


@pytest.fixture(autouse=True)
def one_task_at_a_time() -> Iterator[None]:
    """No threads: when all tasks are blocked, all work is done."""
    with substitute(inline(1)):
        yield


@asynccontextmanager
async def grown(
    auto: AutoRebuild, path: Path | str = ":memory:", n: int = UNSAMPLED
) -> AsyncIterator[tuple[Database, Table, Index]]:
    """An index on n rows that has got as many again."""
    async with checked_db(path, limits=SMALL) as db:
        table = await filled(db, "t", n)
        index = await table.create_index("t", nlist=9, auto_rebuild=auto)
        await table.upsert(range(n, 2 * n), points(n))
        yield db, table, index


async def passes(clock: MockClock, seconds: float) -> None:
    """Let time pass, a period at a time, and all that is to be done then be done."""
    for _ in range(round(seconds / PERIOD_S)):
        clock.jump(PERIOD_S)
        await wait_all_tasks_blocked()


async def log_of(db: Database) -> list[tuple[str, str | None]]:
    """(action, outcome) of each decision, oldest first."""
    return [(each.action, each.outcome) for each in reversed(await db.decisions())]


class Recorder:
    """An action that changes nothing; it counts, and may fail."""

    def __init__(self, error: Exception | None = None) -> None:
        self.calls = 0
        self._error = error

    async def __call__(self, _: IndexState) -> None:
        """Take part in the Monitor's work."""
        self.calls += 1
        if self._error is not None:
            raise self._error


async def test_advise_writes_and_does_nothing(mock_clock: MockClock) -> None:
    """With "advise" a decision is written down once, with its reasons, and the index stays."""
    async with grown("advise") as (db, _, index):
        await passes(mock_clock, 10 * PERIOD_S)
        (decision,) = await db.decisions()
        assert (decision.index, decision.action, decision.outcome) == ("t", "rebuild", None)
        assert (decision.auto, decision.reasons[0]) == (
            "advise",
            "it was built on 80 rows and has 160",
        )
        assert (await index.statistics()).generation == 1


async def test_off_is_silent(mock_clock: MockClock) -> None:
    """With "off" nothing is written and nothing done, and the advice is there for who asks."""
    async with grown("off") as (db, _, index):
        await passes(mock_clock, 10 * PERIOD_S)
        assert await db.decisions() == []
        assert (await index.statistics()).generation == 1
        assert "REBUILD ONLINE" in (await index.statistics()).advice


async def test_on_acts(mock_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """With "on" the index is rebuilt; the decision, the outcome and the end of it are written."""
    caplog.set_level(logging.INFO)
    async with grown("on") as (db, _, index):
        await passes(mock_clock, 3 * PERIOD_S)
        assert await log_of(db) == [("rebuild", None), ("rebuild", "done"), ("none", None)]
        figures = await index.statistics()
        assert (figures.generation, figures.rows_at_build, figures.nlist) == (2, 160, 12)
        assert figures.cost_at_build > 0
        assert "rebuild of index t (it was built on 80 rows and has 160" in caplog.text


async def test_a_healthy_index_writes_nothing(mock_clock: MockClock) -> None:
    """As long as nothing is called for there is nothing to read."""
    async with checked_db(limits=SMALL) as db:
        table = await filled(db, "t", 300)
        await table.create_index("t", nlist=9, auto_rebuild="on")
        await passes(mock_clock, 5 * PERIOD_S)
        assert await db.decisions() == []


async def test_an_index_that_was_made_too_early_is_rebuilt(mock_clock: MockClock) -> None:
    """Made on 200 rows and grown to many, an index gets its partitions by itself."""
    async with checked_db(limits=SMALL) as db:
        table = await filled(db, "t", 200)
        index = await table.create_index("t", nlist=2, auto_rebuild="on")
        await table.upsert(range(200, 2_000), points(1_800))
        await passes(mock_clock, 2 * PERIOD_S)
        figures = await index.statistics()
        assert (figures.rows_at_build, figures.nlist, figures.advice) == (2_000, 44, "healthy")
        assert "it was built on 200 rows and has 2,000" in (await db.decisions("t"))[-1].reasons


async def test_quiet_time_after_an_action(mock_clock: MockClock) -> None:
    """An action that changed nothing is not repeated before the quiet time is over."""
    async with grown("on") as (db, _, _):
        supervisor_of(db).monitor._rebuild = rebuild = Recorder()
        await passes(mock_clock, QUIET_S)
        assert rebuild.calls == 1
        await passes(mock_clock, 2 * PERIOD_S)
        assert rebuild.calls == 2
        assert await log_of(db) == [("rebuild", None), ("rebuild", "done"), ("rebuild", "done")]


async def test_a_rejected_rebuild_is_logged_and_not_repeated(
    mock_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The reason of a rejection is in the log and in the file; it is tried again hours later."""
    async with grown("on") as (db, _, _):
        rebuild = Recorder(RebuildRejected("recall would fall"))
        supervisor_of(db).monitor._rebuild = rebuild
        await passes(mock_clock, 2 * QUIET_S)
        assert rebuild.calls == 1
        assert await log_of(db) == [
            ("rebuild", None),
            ("rebuild", "RebuildRejected: recall would fall"),
        ]
        assert "RebuildRejected: recall would fall" in caplog.text
        await passes(mock_clock, FAILED_QUIET_S)
        assert rebuild.calls == 2


async def test_lopsided_partitions_are_reorganized(
    mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where partitions are lopsided and nothing else is wrong, they are put in order."""
    lopsided = Decision("reorganize", ("partitions are lopsided",), ("imbalance",))
    monkeypatch.setattr("centroidb.engine.actors.monitor.decide", lambda *_: lopsided)
    async with grown("on") as (db, _, _):
        watcher, rebuild, reorganize = supervisor_of(db).monitor, Recorder(), Recorder()
        watcher._rebuild, watcher._reorganize = rebuild, reorganize
        await passes(mock_clock, PERIOD_S)
        assert (rebuild.calls, reorganize.calls) == (0, 1)
        assert await log_of(db) == [("reorganize", None), ("reorganize", "done")]


async def test_a_reorganization_that_has_not_helped_is_followed_by_a_rebuild(
    mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the reasons for it hold after it, a rebuild is made next; later it may help again."""
    decision = Decision("reorganize", ("partitions are lopsided",), ("imbalance",))
    monkeypatch.setattr("centroidb.engine.actors.monitor.decide", lambda *_: decision)
    async with grown("on") as (db, _, _):
        watcher, rebuild, reorganize = supervisor_of(db).monitor, Recorder(), Recorder()
        watcher._rebuild, watcher._reorganize = rebuild, reorganize
        await passes(mock_clock, PERIOD_S + QUIET_S)
        assert (rebuild.calls, reorganize.calls) == (1, 1)
        decision = NOTHING
        await passes(mock_clock, QUIET_S)
        decision = Decision("reorganize", ("partitions are lopsided",), ("imbalance",))
        await passes(mock_clock, PERIOD_S)
        assert (rebuild.calls, reorganize.calls) == (1, 2)


async def test_a_build_that_was_paused_is_left_to_whoever_paused_it(mock_clock: MockClock) -> None:
    """While a job that was cut short waits, the Monitor begins none."""
    async with grown("on") as (db, _, index):
        supervisor_of(db).monitor._rebuild = rebuild = Recorder()
        async with index.rebuilding() as job:
            assert await job.pause()
        await passes(mock_clock, 3 * PERIOD_S)
        assert rebuild.calls == 0
        await index.abort_rebuild()
        await passes(mock_clock, PERIOD_S)
        assert rebuild.calls == 1


async def test_a_decision_is_remembered_over_an_open(mock_clock: MockClock, tmp_path: Path) -> None:
    """What was decided before the file was closed is not written again after."""
    async with grown("advise", tmp_path / "t.db") as (db, _, _):
        await passes(mock_clock, PERIOD_S)
        assert len(await db.decisions()) == 1
    async with checked_db(tmp_path / "t.db", limits=SMALL) as db:
        await passes(mock_clock, 3 * PERIOD_S)
        assert len(await db.decisions()) == 1


async def test_an_index_that_is_dropped_is_forgotten(mock_clock: MockClock) -> None:
    """A drop during the action is no fault, and nothing is written for the dropped index."""
    async with grown("on") as (db, _, _):

        async def drop(_: IndexState) -> None:
            await db.drop_index("t")

        supervisor_of(db).monitor._rebuild = drop
        await passes(mock_clock, 2 * PERIOD_S)
        await db.vacuum()
        (rows,) = await supervisor_of(db).committer.write(
            lambda c: c.execute("SELECT count(*) FROM decisions").fetchone()
        )
        assert rows == 0
        await passes(mock_clock, PERIOD_S)
        assert supervisor_of(db).monitor._watches == {}


async def test_a_new_generation_is_sampled_once(mock_clock: MockClock, tmp_path: Path) -> None:
    """Recall and cost are measured after a build, and the cost is kept with the generation."""
    async with checked_db(tmp_path / "t.db", limits=SMALL) as db:
        table = await filled(db, "t", 400)
        index = await table.create_index("t", nlist=20)
        fresh = await index.statistics()
        assert (fresh.recall, fresh.recall_queries, fresh.cost, fresh.cost_at_build) == (
            None,
            0,
            None,
            0.0,
        )
        await passes(mock_clock, PERIOD_S)
        figures = await index.statistics()
        assert figures.recall is not None
        assert 0.5 < figures.recall <= 1.0
        assert figures.recall_queries == 128
        assert figures.cost is not None
        assert 0.05 < figures.cost < 1.0
        assert figures.cost_at_build == figures.cost
        await index.rebuild()
        assert (await index.statistics()).recall is None
    async with checked_db(tmp_path / "t.db", read_only=True) as db:
        assert (await (await db.index("t")).statistics()).cost_at_build == 0.0


async def test_a_close_ends_a_sample(
    mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A database that is closed during a sample is closed cleanly, and nothing is kept of it."""
    begun = 0

    async def endless(*_: Any, **__: Any) -> None:
        nonlocal begun
        begun += 1
        await trio.sleep_forever()

    path = tmp_path / "t.db"
    monkeypatch.setattr("centroidb.engine.actors.sampling.search_exactly", endless)
    async with checked_db(path, limits=SMALL) as db:
        table = await filled(db, "t", 400)
        await table.create_index("t", nlist=20)
        await passes(mock_clock, PERIOD_S)
        assert begun == 1
    assert [each.name for each in tmp_path.iterdir()] == ["t.db"]
    async with checked_db(path, read_only=True) as db:
        assert (await (await db.index("t")).statistics()).cost_at_build == 0.0


async def test_the_sampled_recall_is_that_of_searches(mock_clock: MockClock) -> None:
    """Searches as they are by default find about what the sample says they find."""
    async with checked_db(limits=SMALL) as db:
        table = await filled(db, "t", 600)
        index = await table.create_index("t", nlist=60)
        await passes(mock_clock, PERIOD_S)
        found = 0
        for query in points(600)[:100]:
            near = (await table.search(query, 11)).ids[1:]
            exact = (await table.search(query, 11, exact=True)).ids[1:]
            found += len(set(near) & set(exact))
        recall = (await index.statistics()).recall
        assert recall is not None
        assert recall == pytest.approx(found / 1_000, abs=0.05)


async def test_samples_are_taken_when_much_has_changed(
    mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not below `gate_rows`, not without changes, and not more often than a sample may be."""
    taken = 0

    async def counted(state: State, index: IndexId) -> Measured | None:
        nonlocal taken
        taken += 1
        return await sample(state, index)

    monkeypatch.setattr("centroidb.engine.actors.monitor.sample", counted)
    async with checked_db(limits=SMALL) as db:
        table = await filled(db, "t", UNSAMPLED)
        await table.create_index("t", nlist=9, auto_rebuild="off")
        await passes(mock_clock, 2 * PERIOD_S)
        assert taken == 0
        await table.upsert(range(UNSAMPLED, 200), points(120))
        await passes(mock_clock, 3 * PERIOD_S)
        assert taken == 1
        await table.upsert(range(200, 220), points(20))
        await passes(mock_clock, PERIOD_S)
        assert taken == 1
        await passes(mock_clock, SAMPLE_EVERY_S)
        assert taken == 2
        await passes(mock_clock, 2 * SAMPLE_EVERY_S)
        assert taken == 2
