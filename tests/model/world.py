"""One run: the database, what it must hold, and what is held open across the operations."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import trio

from centroidb import (
    BusyError,
    ClosedError,
    Database,
    Index,
    JobCancelled,
    JobPaused,
    NotFoundError,
    RebuildRejected,
    Snapshot,
    Table,
)
from centroidb.engine.db.options import RebuildOptions
from centroidb.engine.index.codec import CodecName
from centroidb.engine.index.distance import Metric
from centroidb.engine.index.parameters import CentroidSearchKind
from centroidb.wal.types import Key

from .open_transaction import OpenTransaction
from .oracle import Found, Kind, TableModel, TableState

KINDS: Final[Mapping[str, Kind]] = {
    "a": Kind("a", 3, "l2", "int"),
    "b": Kind("b", 6, "cosine", "str"),
}


@dataclass(frozen=True)
class IndexKind:
    """What all indexes of a run are made with."""

    codec: CodecName
    centroid_search: CentroidSearchKind


@dataclass(frozen=True)
class Question:
    """A search for one vector. nprobe: None is the default; `exact` goes before it."""

    table: str
    number: int
    """Of the query vector."""
    k: int
    nprobe: int | None = None
    exact: bool = False
    metric: Metric | None = None
    index: str | None = None


@dataclass(eq=False)
class Held:
    """A state held open: a snapshot, what it must see, and what it answered first."""

    snapshot: Snapshot
    tables: Mapping[str, TableState]
    indexes: Mapping[str, tuple[str, Metric]]
    stack: AsyncExitStack
    answers: dict[Question, Found] = field(default_factory=dict)


@dataclass(eq=False)
class Build:
    """A build that goes on while other operations run."""

    index: str
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    done: trio.Event = field(default_factory=trio.Event)
    doomed: bool = False
    """Whether something was done that ends it: a drop, a close."""


def require_by_recall(rejection: RebuildRejected) -> None:
    """With other parameters an index may well find less; that its rows are wrong is a fault."""
    assert str(rejection).startswith("recall"), rejection


class World:
    """See the module. Operations are run one after the other; only builds go on meanwhile."""

    def __init__(self, index_kind: IndexKind) -> None:
        self.index_kind = index_kind
        self.tables: dict[str, TableModel] = {}
        self.indexes: dict[str, tuple[str, Metric]] = {}
        """Table and metric of each index."""
        self.clock = 0
        """Commits that changed something."""
        self.held: list[Held] = []
        self.builds: list[Build] = []
        self.transactions: list[OpenTransaction] = []
        self.closers: list[AsyncExitStack] = []
        """Open transactions and snapshots, to be left before the database closes."""
        self._db: Database | None = None
        self._nursery: trio.Nursery | None = None

    @property
    def db(self) -> Database:
        """The database, open between `session`'s begin and end."""
        assert self._db is not None
        return self._db

    @asynccontextmanager
    async def session(self, db: Database, nursery: trio.Nursery) -> AsyncIterator[None]:
        """The time in which `db` is open; builds begun in it run in `nursery`, to its end."""
        self._db, self._nursery = db, nursery
        try:
            yield
        finally:
            await self.let_go()
            for build in self.builds:
                build.doomed = True
            self.builds = []
            self._db = None

    async def let_go(self) -> None:
        """Close the snapshots, and leave the transactions."""
        for closer in self.closers:
            await closer.aclose()
        self.closers, self.held, self.transactions = [], [], []

    def elsewhere(self, db: Database) -> "World":
        """The same tables, in another database that should hold them."""
        other = World(self.index_kind)
        other.tables, other.indexes, other._db = self.tables, self.indexes, db
        return other

    def tick(self) -> int:
        """The number of the commit that happens now."""
        self.clock += 1
        return self.clock

    def states(self) -> dict[str, TableState]:
        """Every table as it is now."""
        return {name: table.state() for name, table in self.tables.items()}

    def key(self, table: str, number: int) -> Key:
        """A key of the table's type."""
        return number if KINDS[table].key_type == "int" else f"key {number}"

    async def table(self, name: str) -> Table:
        """The table of that name."""
        return await self.db.table(name)

    async def index(self, name: str) -> Index:
        """The index of that name."""
        return await self.db.index(name)

    def forget_index(self, name: str) -> None:
        """It was dropped: builds of it end."""
        del self.indexes[name]
        self.doom_builds(name)

    def doom_builds(self, name: str) -> None:
        """Builds of this index may end without a result from now on."""
        for build in self.builds:
            build.doomed = build.doomed or build.index == name

    async def start_build(self, name: str, options: RebuildOptions) -> None:
        """Rebuild an index while other operations run."""
        assert self._nursery is not None
        build = Build(name)
        self.builds.append(build)
        index = await self.index(name)
        self._nursery.start_soon(self._build, build, index, options)

    async def _build(self, build: Build, index: Index, options: RebuildOptions) -> None:
        try:
            with build.scope:
                await index.rebuild(**options)
        except BusyError:
            pass  # another build of it goes on
        except RebuildRejected as rejection:
            require_by_recall(rejection)
        except (JobCancelled, JobPaused, ClosedError, NotFoundError):
            assert build.doomed, f"the build of {build.index} ended for no reason"
        finally:
            build.done.set()

    async def finish_builds(self) -> None:
        """Wait for all builds that go on."""
        for build in self.builds:
            await build.done.wait()
        self.builds = []
