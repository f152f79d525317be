"""Decisions of the Monitor as users see them, and what they may change: `alter`."""

from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from centroidb import BusyError, Database, Index, InputError, NotFoundError, ReadOnlyError
from centroidb.engine.actors.monitor import Monitor
from centroidb.engine.db.source import LiveSource
from centroidb.wal import decisions
from tests.support.databases import SMALL, checked_db

from .data import clustered, filled, indexed


def monitor_of(db: Database) -> Monitor:
    """The Monitor of an open database; its `look` is a period that is over."""
    source = db._source
    assert isinstance(source, LiveSource)
    return source._supervisor.monitor


async def grown(db: Database) -> Index:
    """An index that should be rebuilt."""
    table, index = await indexed(db, 60)
    await table.upsert(range(60, 140), clustered(80, seed=2))
    return index


async def test_a_reader_sees_them(tmp_path: Path) -> None:
    """Another open of the file, read-only, gets the same decisions, newest first."""
    path = tmp_path / "t.db"
    async with checked_db(path, limits=SMALL) as db:
        index = await grown(db)
        await monitor_of(db).look()
        await index.alter(auto_rebuild="on")
        await monitor_of(db).look()
        seen = await db.decisions()
        assert [(each.action, each.auto, each.outcome) for each in seen] == [
            ("rebuild", "on", "done"),
            ("rebuild", "advise", None),
        ]
        assert seen[0].time.endswith("UTC")
        assert seen[0].time_ns >= seen[1].time_ns
        async with checked_db(path, read_only=True) as reader:
            assert await reader.decisions() == seen
            assert await reader.decisions("ix") == seen


async def test_they_go_with_their_index() -> None:
    """After a drop an index of the same name has none, and none is left in the file."""
    async with checked_db(limits=SMALL) as db:
        await grown(db)
        await monitor_of(db).look()
        assert len(await db.decisions("ix")) == 1
        await db.drop_index("ix")
        assert await db.decisions() == []
        await (await db.table("t")).create_index("ix")
        assert await db.decisions("ix") == []
        await db.vacuum()
        assert await db._source.read_alone(decisions.read) == []


async def test_those_of_one_index() -> None:
    """A name picks those of one index; a name that no index has is refused."""
    async with checked_db(limits=SMALL) as db:
        await grown(db)
        await (await db.table("t")).create_index("new")
        await monitor_of(db).look()
        assert [each.index for each in await db.decisions("ix")] == ["ix"]
        assert await db.decisions("new") == []
        with pytest.raises(NotFoundError, match="did you mean 'new'"):
            await db.decisions("nw")


async def test_only_the_last_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each index the last decisions stay, and those of others are not counted."""
    monkeypatch.setattr(decisions, "KEPT", 3)
    async with checked_db(limits=SMALL) as db:
        _, index = await indexed(db, 60)
        other = await (await db.table("t")).create_index("other")
        supervisor = db._source.supervisor()
        for time_ns in range(10):
            for each in (index, other):
                add = partial(
                    decisions.append, index=each._id, time_ns=time_ns, action="none", reasons={}
                )
                await supervisor.committer.write(add)
        assert [each.time_ns for each in await db.decisions("ix")] == [9, 8, 7]
        assert len(await db.decisions()) == 6


async def test_alter_holds_over_an_open_and_a_rebuild(tmp_path: Path) -> None:
    """What `alter` changes is in the file at once, stays, and leaves the rest as it was."""
    path = tmp_path / "t.db"
    async with checked_db(path, limits=SMALL) as db:
        _, index = await indexed(db, 200)
        assert (await index.statistics()).auto_rebuild == "advise"
        async with checked_db(path, read_only=True) as reader:
            seen = await reader.index("ix")
            assert (await seen.statistics()).auto_rebuild == "advise"
            await index.alter(auto_rebuild="off", keep_previous=2)
            assert (await seen.statistics()).auto_rebuild == "off"
            with pytest.raises(ReadOnlyError):
                await seen.alter(auto_rebuild="on")
    async with checked_db(path, limits=SMALL) as db:
        index = await db.index("ix")
        for kept in (1, 2, 2):
            await index.rebuild()
            figures = await index.statistics()
            assert (figures.auto_rebuild, figures.kept) == ("off", kept)
        await index.alter(keep_previous=0)
        await index.rebuild()
        assert (await index.statistics()).kept == 0
        await index.alter(keep_previous=timedelta(hours=1))
        await index.alter()
        await index.rebuild()
        assert (await index.statistics()).kept == 1
        assert (await index.statistics()).auto_rebuild == "off"


async def test_alter_during_a_build() -> None:
    """How the index is watched may change during a build and holds after it; what is kept not."""
    async with checked_db(limits=SMALL) as db:
        _, index = await indexed(db, 200)
        async with index.rebuilding() as job:
            await index.alter(auto_rebuild="on")
            with pytest.raises(BusyError, match="'ix': keep_previous waits"):
                await index.alter(keep_previous=1)
            await job.wait()
        assert (await index.statistics()).auto_rebuild == "on"


async def test_what_alter_refuses() -> None:
    """Values that can not be are refused by name, and so is an index that was dropped."""
    async with checked_db(limits=SMALL) as db:
        _, index = await indexed(db, 200)
        with pytest.raises(InputError, match="auto_rebuild: expected one of off, advise, on"):
            await index.alter(auto_rebuild="always")  # type: ignore[arg-type]
        with pytest.raises(InputError, match="keep_previous"):
            await index.alter(keep_previous=-1)
        await db.drop_index("ix")
        with pytest.raises(NotFoundError, match="'ix' was dropped"):
            await index.alter(auto_rebuild="on")


async def test_an_index_is_made_to_rebuild_itself() -> None:
    """`create_index` takes what `alter` takes."""
    async with checked_db(limits=SMALL) as db:
        table = await filled(db, 100)
        index = await table.create_index("ix", auto_rebuild="on")
        assert (await index.statistics()).auto_rebuild == "on"
        with pytest.raises(InputError, match="auto_rebuild"):
            await table.create_index("iy", auto_rebuild="no")  # type: ignore[arg-type]
