"""What a build must not get past: the gate, the sums, and drops."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from centroidb import BusyError, Database, JobCancelled, RebuildRejected
from centroidb.engine.actors.rebuild.static_phase import StaticPhase
from centroidb.wal.segments import StoredSegment
from tests.support.databases import SMALL, checked_db

DIM = 8


async def _indexed(db: Database, rows: int = 600) -> Any:
    """An index over clustered rows, and the rows."""
    random = np.random.default_rng(1)
    centres = random.normal(size=(24, DIM)) * 5
    vectors = (centres[np.arange(rows) % 24] + random.normal(size=(rows, DIM))).astype(np.float32)
    table = await db.create_table("points", dim=DIM)
    await table.upsert(range(rows), vectors)
    return await table.create_index("points_ivf", nlist=24, seed=3)


async def test_a_generation_that_finds_less_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    """Centroids made bad on purpose do not pass the gate: the old generation stays."""
    async with checked_db(limits=SMALL) as db:
        index = await _indexed(db)
        before = (await index.statistics()).generation

        async def bad(self: StaticPhase, versions: object) -> np.ndarray[Any, Any]:
            return np.random.default_rng(2).normal(size=(24, DIM)).astype(np.float32) * 1e-3 + 50

        monkeypatch.setattr(StaticPhase, "train", bad)
        with pytest.raises(RebuildRejected, match=r"recall at equal rows read would fall from"):
            await index.rebuild()

        assert (await index.statistics()).generation == before
        assert [job.state for job in await db.jobs()] == ["failed", "done"]


async def test_a_bad_build_after_the_table_shrank_is_rejected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Fewer rows make fewer partitions, and these too must find about what the old ones do."""
    async with checked_db(limits=SMALL) as db:
        index = await _indexed(db)
        await (await db.table("points")).delete(range(0, 600, 2))
        before = (await index.statistics()).generation

        async def bad(self: StaticPhase, versions: object) -> np.ndarray[Any, Any]:
            return np.random.default_rng(2).normal(size=(17, DIM)).astype(np.float32) * 1e-3 + 50

        with monkeypatch.context() as patch:
            patch.setattr(StaticPhase, "train", bad)
            with pytest.raises(RebuildRejected, match=r"recall at equal rows read would fall"):
                await index.rebuild()
        assert (await index.statistics()).generation == before
        assert (await index.rebuild()).nlist == 17


def _without_last_row(pieces: Sequence[StoredSegment]) -> list[StoredSegment]:
    last = pieces[-1]
    n = last.n - 1
    codes, bounds = len(last.codes) // last.n, len(last.bounds) // last.n
    shorter = StoredSegment(
        last.centroid,
        n,
        last.vids[: 8 * n],
        last.bounds[: bounds * n],
        last.row_crcs[: 4 * n],
        last.codes[: codes * n],
    )
    return [*pieces[:-1], shorter]


def _with_last_twice(pieces: Sequence[StoredSegment]) -> list[StoredSegment]:
    return [*pieces, pieces[-1]]


@pytest.mark.parametrize("damage", [_without_last_row, _with_last_twice])
async def test_a_generation_that_lost_or_doubled_a_row_is_rejected(
    monkeypatch: pytest.MonkeyPatch, damage: Any
) -> None:
    """The sums over all rows must be equal before the swap."""
    async with checked_db(limits=SMALL) as db:
        index = await _indexed(db)
        encode = StaticPhase.encode

        async def damaged(self: StaticPhase, *args: Any) -> list[StoredSegment]:
            pieces: list[StoredSegment] = damage(await encode(self, *args))
            return pieces

        monkeypatch.setattr(StaticPhase, "encode", damaged)
        with pytest.raises(RebuildRejected, match=r"generation \d+"):
            await index.rebuild()


async def test_one_build_at_a_time_an_index() -> None:
    """A second build of the same index is refused while the first runs."""
    async with checked_db(limits=SMALL) as db:
        index = await _indexed(db)
        async with index.rebuilding() as job:
            async for _ in job:
                with pytest.raises(BusyError, match="points_ivf"):
                    await index.rebuild()
                break


async def _drop_while_building(db: Database, index: Any) -> None:
    async with index.rebuilding() as job:
        async for _ in job:
            await db.drop_index("points_ivf")
            break
        await job.wait()


async def test_dropping_the_index_cancels_its_build() -> None:
    """A build whose index is dropped ends with JobCancelled, and nothing of it is left."""
    async with checked_db(limits=SMALL) as db:
        index = await _indexed(db)
        with pytest.raises(JobCancelled):
            await _drop_while_building(db, index)

        assert await db.indexes() == []


async def test_thin_partitions_are_trimmed() -> None:
    """With min_vectors_per_partition, partitions with fewer rows are given up."""
    async with checked_db(limits=SMALL) as db:
        index = await _indexed(db)
        await index.rebuild(nlist=100, min_vectors_per_partition=5)
        sizes = [partition.rows for partition in await index.partitions()]

        assert min(sizes) >= 5
        assert len(sizes) < 100
