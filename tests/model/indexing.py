"""Operations on indexes and tables as wholes, and on the file."""

import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import pytest
import trio

from centroidb import (
    BusyError,
    Database,
    InputError,
    NotFoundError,
    RebuildRejected,
    StorageError,
    open_db,
)
from centroidb.engine.actors.supervisor import OnOpen
from centroidb.engine.db.options import RebuildOptions
from centroidb.engine.index import reorganize
from centroidb.engine.index.distance import Metric
from centroidb.engine.index.parameters import IndexParameters
from tests.support.databases import SMALL, checked_db, resumed
from tests.support.leftovers import leftovers

from .oracle import TableModel
from .reading import compare_now
from .world import KINDS, World, require_by_recall


@dataclass(frozen=True)
class CreateIndex:
    """Make an index and build it."""

    name: str
    table: str
    metric: Metric
    nlist: int | None
    seed: int

    async def run(self, world: World) -> None:
        """Refused when the name is taken."""
        if self.table not in world.tables:
            return
        table = await world.table(self.table)
        if self.name in world.indexes:
            with pytest.raises(InputError):
                await table.create_index(self.name)
            return
        world.indexes[self.name] = (self.table, self.metric)
        world.tick()
        await table.create_index(
            self.name,
            metric=self.metric,
            nlist=self.nlist,
            codec=world.index_kind.codec,
            centroid_search=world.index_kind.centroid_search,
            seed=self.seed,
            parallel=2,
        )


@dataclass(frozen=True)
class DropIndex:
    """Drop an index."""

    name: str

    async def run(self, world: World) -> None:
        """Builds of it end; snapshots from before still use it."""
        if self.name not in world.indexes:
            with pytest.raises(NotFoundError):
                await world.db.drop_index(self.name)
            return
        world.forget_index(self.name)
        await world.db.drop_index(self.name)


@dataclass(frozen=True)
class DropTable:
    """Drop a table and its indexes."""

    name: str

    async def run(self, world: World) -> None:
        """Builds of its indexes end."""
        if world.tables.pop(self.name, None) is None:
            with pytest.raises(NotFoundError):
                await world.db.drop_table(self.name)
            return
        for index, (table, _) in list(world.indexes.items()):
            if table == self.name:
                world.forget_index(index)
        await world.db.drop_table(self.name)


@dataclass(frozen=True)
class CreateTable:
    """Make a table."""

    name: str

    async def run(self, world: World) -> None:
        """One that is there already stays as it is."""
        kind = KINDS[self.name]
        await world.db.create_table(
            kind.name, dim=kind.dim, metric=kind.metric, key_type=kind.key_type, if_not_exists=True
        )
        world.tables.setdefault(self.name, TableModel(kind))


@dataclass(frozen=True)
class Rebuild:
    """Rebuild an index, at once or while other operations go on."""

    name: str
    nlist: int | None
    parallel: int
    keep_previous: int
    wait: bool

    async def run(self, world: World) -> None:
        """It takes over, unless it is busy or finds less."""
        if self.name not in world.indexes:
            return
        options: RebuildOptions = {
            "nlist": self.nlist,
            "parallel": self.parallel,
            "keep_previous": self.keep_previous,
        }
        if not self.wait:
            await world.start_build(self.name, options)
            return
        index = await world.index(self.name)
        try:
            await index.rebuild(**options)
        except BusyError:
            pass  # with a build that was started before
        except RebuildRejected as rejection:
            require_by_recall(rejection)


@dataclass(frozen=True)
class RollBack:
    """Bring back what a rebuild has replaced."""

    name: str

    async def run(self, world: World) -> None:
        """It takes over, if there is one, and nobody builds."""
        if self.name in world.indexes:
            with suppress(BusyError, NotFoundError):
                await (await world.index(self.name)).rollback()


@dataclass(frozen=True)
class PauseBuild:
    """Pause a build, or go on with one."""

    name: str
    resume: bool

    async def run(self, world: World) -> None:
        """Whoever waits for the build is told; what was done of it is kept."""
        if self.name not in world.indexes:
            return
        index = await world.index(self.name)
        with suppress(BusyError, NotFoundError, InputError):
            if self.resume:
                with suppress(RebuildRejected):
                    await index.resume_rebuild()
            else:
                world.doom_builds(self.name)
                await index.pause_rebuild()


@dataclass(frozen=True)
class Reorganize:
    """Reorganize an index, with bounds so narrow that there is nearly always something to do."""

    name: str
    partitions: int | None

    async def run(self, world: World) -> None:
        """Answers stay what they are, unless a build goes on."""
        if self.name not in world.indexes:
            return
        index = await world.index(self.name)
        narrow = patch.multiple(reorganize, OVERGROWN=1.5, STARVING=0.9)
        with narrow, suppress(BusyError):
            await index.reorganize(self.partitions)


@dataclass(frozen=True)
class FinishBuilds:
    """Wait for the builds that go on."""

    async def run(self, world: World) -> None:
        """All end."""
        await world.finish_builds()


@dataclass(frozen=True)
class CancelBuild:
    """Cancel a build."""

    which: int

    async def run(self, world: World) -> None:
        """The index stays as it was."""
        if world.builds:
            world.builds[self.which % len(world.builds)].scope.cancel()


@dataclass(frozen=True)
class Pass:
    """Let the others run for a while."""

    turns: int

    async def run(self, _: World) -> None:
        """Nothing else."""
        for _turn in range(self.turns):
            await trio.lowlevel.checkpoint()


@dataclass(frozen=True)
class Vacuum:
    """Purge what nobody sees."""

    async def run(self, world: World) -> None:
        """What is held stays readable: asked later."""
        await world.db.vacuum()


@dataclass(frozen=True)
class Check:
    """Run `check()` in the middle of everything."""

    async def run(self, world: World) -> None:
        """Nothing is wrong, whatever goes on."""
        findings = await world.db.check()
        assert findings.errors == ()


@dataclass(frozen=True)
class Reopen:
    """Close the database, whatever goes on, and open it again."""

    on_open: OnOpen = "resume"

    async def run(self, _: World) -> None:
        """Carried out by the test, which holds the database."""
        raise AssertionError("the test reopens")


@dataclass(frozen=True)
class Crash:
    """Open a copy of the file as a crash at this moment would leave it."""

    backup: bool = False
    """Take the copy by `backup` instead."""
    on_open: OnOpen = "resume"

    async def run(self, world: World) -> None:
        """It holds what is committed, and the builds that went on can end there."""
        path = Path(world.db.path)
        copy = path.with_name("copy.db")
        if self.backup:
            await world.db.backup(copy)
        else:
            copy_files(path, copy)
        async with checked_db(copy, limits=SMALL, on_open=self.on_open) as db:
            await settled(db)
            await compare_now(world.elsewhere(db))
        copy.unlink()


@dataclass(frozen=True)
class Damage:
    """Open a copy of the file in which one bit is another."""

    bit: int
    """Modulo those of the file."""

    async def run(self, world: World) -> None:
        """A full proof finds it, or it is nowhere where it could change an answer."""
        copy = Path(world.db.path).with_name("copy.db")
        await world.db.backup(copy)
        raw = bytearray(copy.read_bytes())
        raw[self.bit // 8 % len(raw)] ^= 1 << self.bit % 8
        copy.write_bytes(raw)
        with suppress(StorageError):
            async with open_db(copy, limits=SMALL, read_only=True, verify="full") as db:
                await compare_now(world.elsewhere(db))
        copy.unlink()


def copy_files(path: Path, copy: Path) -> None:
    """The file and its WAL, by another process, so that no lock of this one is dropped."""
    subprocess.run(["cp", path, copy], check=True)
    subprocess.run(["cp", f"{path}-wal", f"{copy}-wal"], check=True)


async def settled(db: Database) -> None:
    """With all builds at their end, a vacuum leaves nothing but what is in use."""
    await resumed(db)
    supervisor = db._source.supervisor()
    for index in list(supervisor.state.indexes.values()):
        if index.unfinished is not None:
            parameters = IndexParameters.from_json(index.unfinished.row.parameters)
            with suppress(RebuildRejected):
                await supervisor.build(index, parameters=parameters)
    await db.vacuum()
    assert await leftovers(db) == []
