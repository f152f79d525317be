"""Searches on the event loop: only what is quick together, and with the same answers."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal

import numpy as np
import pytest
import trio

from centroidb import Limits, Table
from centroidb.engine.actors import quick
from centroidb.engine.actors.quick import AGAIN_S, HERE_S, KINDS_MAX, Quick
from centroidb.engine.index.compiled import KERNELS
from centroidb.engine.index.native import Lone, Native
from centroidb.engine.storage.blocks import FILLED_A_SEARCH, TableReader
from centroidb.wal.pool import ReaderPool
from tests.support.databases import checked_db

from .data import DIM, clustered

ROWS = 2_000


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Where reads of the pool are carried out: "here" or "worker"."""
    places: list[str] = []
    here, worker = ReaderPool.read_here, ReaderPool.read

    def read_here(self: ReaderPool, fn: Any) -> Any:
        places.append("here")
        return here(self, fn)

    async def read(self: ReaderPool, fn: Any) -> Any:
        places.append("worker")
        return await worker(self, fn)

    with monkeypatch.context() as patch:
        patch.setattr(ReaderPool, "read_here", read_here)
        patch.setattr(ReaderPool, "read", read)
        yield places


async def searched(table: Table, vectors: Any) -> list[tuple[list[Any], list[float]]]:
    """Ids and distances, one search after another."""
    hits = [await table.search(vector, k=5, nprobe=4) for vector in vectors]
    return [(each.ids, each.distances.tolist()) for each in hits]


def test_a_kind_is_quick_after_a_quick_one() -> None:
    """Not before any, and not beside many; and it remembers only so many."""
    known = Quick()
    assert not known.allows(("a",), 1)
    known.note(("a",), HERE_S / 4)
    assert known.allows(("a",), 3)
    assert not known.allows(("a",), 4)
    for number in range(KINDS_MAX + 1):
        known.note((number,), 0.0)
    assert not known.allows((0,), 1)
    assert known.allows((KINDS_MAX,), 1)


def test_a_kind_is_slow_after_some_slow_ones() -> None:
    """Two of the last five change nothing, the third does."""
    known = Quick()
    for took_s, allowed in [*[(1, True)] * 5, (9, True), (9, True), (9, False), (1, False)]:
        known.note(("a",), HERE_S * took_s / 4)
        assert known.allows(("a",), 3) == allowed


def test_a_kind_is_measured_again_beside_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while, if one alone is quick."""
    known, now_s = Quick(), [100.0]
    monkeypatch.setattr(quick, "perf_counter", lambda: now_s[0])
    known.note(("a",), HERE_S / 4)
    known.note(("slow",), HERE_S)
    assert not known.allows(("a",), 9)
    now_s[0] += 2 * AGAIN_S
    assert known.allows(("a",), 9)
    assert not known.allows(("slow",), 1)
    known.note(("a",), HERE_S / 4)
    assert not known.allows(("a",), 9)


@pytest.mark.parametrize("codec", ["sq8", "flat"])
async def test_a_lone_search_is_answered_on_the_loop(
    codec: Literal["sq8", "flat"], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the second one of its kind on; so are some that come together, and many are not."""
    monkeypatch.setattr(quick, "HERE_S", 60.0)
    async with checked_db() as db:
        table = await db.create_table("t", dim=DIM)
        vectors = clustered(ROWS)
        await table.upsert(range(ROWS), vectors)
        await table.create_index("ix", nlist=16, codec=codec)
        for _ in range(2 + 16 // FILLED_A_SEARCH * 2):  # all are in memory then, with vectors
            await table.search(vectors[0], nprobe=16)
        with counted(monkeypatch) as places:
            first = await searched(table, vectors[:3])
        assert places == ["worker", "here", "here"]
        for most, here in ((12, 12), (11, 0)):
            monkeypatch.setattr(
                Quick, "allows", lambda _, __, together, most=most: together <= most
            )
            with counted(monkeypatch) as places:
                async with trio.open_nursery() as nursery:
                    for vector in vectors[:12]:
                        nursery.start_soon(partial(table.search, vector, k=5, nprobe=4))
            assert places.count("here") == here
        KERNELS.load()
        assert await searched(table, vectors[:3]) == first


@pytest.mark.parametrize("codec", ["sq8", "flat"])
async def test_a_search_that_must_load_goes_to_a_worker(
    codec: Literal["sq8", "flat"], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Partitions that are not in memory are never read on the event loop."""
    monkeypatch.setattr(quick, "HERE_S", 60.0)
    async with checked_db(cache_bytes=0) as db:
        table = await db.create_table("t", dim=DIM)
        vectors = clustered(ROWS)
        await table.upsert(range(ROWS), vectors)
        await table.create_index("ix", nlist=16, codec=codec)
        with counted(monkeypatch) as places:
            await searched(table, vectors[:3])
        assert places.count("worker") == 3


async def test_codes_are_read_first_and_vectors_join_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first search reads no vectors but those it measures; later ones a few partitions each."""
    read: list[int] = []

    def counting(fetch: Any) -> Any:
        def fetching(self: TableReader, vids: Any, **options: Any) -> Any:
            read.append(len(vids))
            return fetch(self, vids, **options)

        return fetching

    for name in ("_fetch_few", "_fetch_many"):
        monkeypatch.setattr(TableReader, name, counting(getattr(TableReader, name)))
    async with checked_db() as db:
        table = await db.create_table("t", dim=DIM)
        vectors = clustered(ROWS)
        await table.upsert(range(ROWS), vectors)
        await table.create_index("ix", nlist=16, codec="sq8")
        first = await table.search(vectors[0], nprobe=16)
        assert sum(read) < ROWS / 4
        for _ in range(8):
            again = await table.search(vectors[0], nprobe=16)
            assert (again.ids, again.distances.tolist()) == (first.ids, first.distances.tolist())
        assert sum(read) >= ROWS
        read.clear()
        await table.search(vectors[1], nprobe=16)
        assert read == []


@pytest.mark.parametrize("codec", ["sq8", "flat"])
async def test_answers_are_the_same_while_rows_change(
    codec: Literal["sq8", "flat"], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the kernels or without, with rows ended, replaced and not yet folded."""
    monkeypatch.setattr(quick, "HERE_S", 60.0)
    async with checked_db() as db:
        dim = 128 if codec == "sq8" else 64
        table = await db.create_table("t", dim=dim)
        vectors = clustered(ROWS, dim=dim)
        await table.upsert(range(ROWS), vectors)
        await table.create_index("ix", nlist=16, codec=codec)
        await table.delete(range(0, ROWS, 7))
        await table.upsert(range(1, ROWS, 9), np.roll(vectors, 1, axis=0)[1::9])
        KERNELS.load()
        lone: list[Lone | None] = []
        alone = Native.alone

        def noting(self: Native, *given: Any, **options: Any) -> Lone | None:
            lone.append(alone(self, *given, **options))
            return lone[-1]

        monkeypatch.setattr(Native, "alone", noting)
        for vector in vectors[:20]:
            found = await table.search(vector, k=5, nprobe=16)
            exact = await table.search(vector, k=5, exact=True)
            assert found.ids == exact.ids
            assert found.distances.tolist() == exact.distances.tolist()
        if KERNELS.loaded is not None:  # else there is no numba
            assert len(lone) >= 20
            assert lone[-1] is not None


async def test_searches_on_the_loop_see_their_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside writers and a purge: what a search reads by itself is of the state that it has."""
    monkeypatch.setattr(quick, "HERE_S", 60.0)
    async with checked_db(limits=Limits(purge_rows=50)) as db:
        table = await db.create_table("t", dim=DIM)
        vectors = clustered(ROWS)
        await table.upsert(range(ROWS), vectors, [{"n": at} for at in range(ROWS)])
        await table.create_index("ix", nlist=16, codec="sq8")

        async def writing() -> None:
            for at in range(0, ROWS, 50):
                await table.delete(range(at, at + 20))
                await table.upsert(range(at + 20, at + 50), vectors[at : at + 30])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(writing)
            nursery.start_soon(db.vacuum)
            with counted(monkeypatch) as places:
                for vector in vectors[:120]:
                    async with db.snapshot() as snapshot:
                        found = await snapshot.search("t", vector, k=5, nprobe=16)
                        exact = await snapshot.search("t", vector, k=5, exact=True)
                        assert (found.ids, found.payloads) == (exact.ids, exact.payloads)
                        assert found.distances.tolist() == exact.distances.tolist()
            assert "here" in places
