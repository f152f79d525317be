"""A statement does what the method does."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import centroidb
from centroidb.engine.sql import StatementError
from centroidb.engine.sql.execute import execute


class Recorder:
    """A database, its tables and its indexes at once, that notes what is called."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    async def table(self, name: str) -> "Recorder":
        self.calls.append(("table", name))
        return self

    async def index(self, name: str) -> "Recorder":
        self.calls.append(("index", name))
        return self

    async def create_index(self, name: str, **options: Any) -> None:
        self.calls.append(("create_index", name, options))

    def __getattr__(self, method: str) -> Any:
        async def called(**options: Any) -> None:
            self.calls.append((method, options))

        return called

    async def drop_index(self, name: str, *, if_exists: bool = False) -> None:
        self.calls.append(("drop_index", name, if_exists))


async def calls(statement: str) -> list[tuple[Any, ...]]:
    """What the statement calls."""
    recorder = Recorder()
    await execute(recorder, statement)
    return recorder.calls


async def test_create_passes_on_what_is_said_and_no_more() -> None:
    """CREATE calls `create_index` with the options in the statement; the rest keep defaults."""
    head = "CREATE VECTOR INDEX IF NOT EXISTS i ON t (vector) ORGANIZATION NEIGHBOR PARTITIONS"
    options = {"metric": "dot", "nlist": 9, "parallel": 2, "if_not_exists": True}

    assert await calls(f"{head} DISTANCE DOT PARAMETERS (NEIGHBOR PARTITIONS 9) PARALLEL 2") == [
        ("table", "t"),
        ("create_index", "i", options),
    ]


async def test_rebuild_passes_on_what_is_said_and_no_more() -> None:
    """ALTER calls `rebuild` with the options in the statement, and with none if it has none."""
    assert await calls("ALTER INDEX i REBUILD ONLINE") == [("index", "i"), ("rebuild", {})]
    assert await calls("ALTER INDEX i REBUILD ONLINE WITH TARGET ACCURACY 90 PARALLEL 3") == [
        ("index", "i"),
        ("rebuild", {"target_accuracy": 90, "parallel": 3}),
    ]


@pytest.mark.parametrize(
    ("statement", "method", "options"),
    [
        ("ALTER INDEX i REBUILD PAUSE", "pause_rebuild", {}),
        ("ALTER INDEX i REBUILD RESUME THROTTLE 50 PERCENT", "resume_rebuild", {"throttle": 0.5}),
        ("ALTER INDEX i REBUILD ABORT", "abort_rebuild", {}),
        ("ALTER INDEX i ROLLBACK", "rollback", {}),
        ("ALTER INDEX i REORGANIZE 3 PARTITIONS", "reorganize", {"partitions": 3}),
        ("ALTER INDEX i SET KEEP PREVIOUS 0", "alter", {"keep_previous": 0}),
        ("EXPLAIN REBUILD i", "explain_rebuild", {}),
    ],
)
async def test_what_tends_an_index(statement: str, method: str, options: Any) -> None:
    """Each statement calls one method of the index, with what it says."""
    assert await calls(statement) == [("index", "i"), (method, options)]


async def test_drop() -> None:
    """DROP calls `drop_index`."""
    assert await calls("DROP INDEX i") == [("drop_index", "i", False)]
    assert await calls("DROP INDEX IF EXISTS i") == [("drop_index", "i", True)]


async def test_on_a_database(tmp_path: Path) -> None:
    """Create, rebuild and drop work on a real index, and a bad statement changes nothing."""
    async with centroidb.open_db(tmp_path / "statements.db") as db:
        table = await db.create_table("points", dim=4)
        vectors = np.random.default_rng(3).normal(size=(600, 4)).astype(np.float32)
        await table.upsert(np.arange(600), vectors)

        index = await db.execute(
            "CREATE VECTOR INDEX i ON points (vector) ORGANIZATION NEIGHBOR PARTITIONS"
            " WITH DISTANCE COSINE PARAMETERS (TYPE IVF, NEIGHBOR PARTITIONS 8, CODEC SQ8)"
        )
        made = await index.statistics()
        outcome = await db.execute(
            "ALTER INDEX i REBUILD ONLINE PARAMETERS (NEIGHBOR PARTITIONS 16)"
        )
        with pytest.raises(StatementError):
            await db.execute("DROP INDEX i j")
        rebuilt = await index.statistics()
        dropped = await db.execute("DROP INDEX i")

        assert (made.nlist, made.metric, made.codec, made.table) == (8, "cosine", "sq8", "points")
        assert (outcome.nlist, outcome.rows, rebuilt.nlist) == (16, 600, 16)
        assert dropped is None
        assert await db.indexes() == []
        with pytest.raises(centroidb.NotFoundError):
            await db.execute("ALTER INDEX i REBUILD ONLINE")
        assert (await db.check()).errors == ()
