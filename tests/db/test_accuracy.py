"""Searches for an accuracy: it is reached on queries nobody has seen, and with fewer rows."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trio
from numpy.typing import NDArray

from centroidb import Database, InputError, Table, open_db
from centroidb.engine.actors import calibrations
from centroidb.engine.db.source import LiveSource
from centroidb.engine.index.distance import Metric
from tests.support.databases import checked_db

Vectors = NDArray[np.float32]

N, DIM, NLIST, QUERIES, K = 6_000, 16, 48, 200, 10
SLACK = 0.03
"""Two standard errors or so of recall over so few queries, here and in the calibration."""


def rows(n: int, seed: int, shift: float = 0.0) -> Vectors:
    """Float32 (n, DIM) about 30 middles, of 5 dimensions at heart."""
    shape, random = np.random.default_rng(1), np.random.default_rng((2, seed))
    middles, project = shape.normal(size=(30, 5)), shape.normal(size=(5, DIM))
    latent = middles[random.integers(0, 30, n)] + shift + 0.7 * random.normal(size=(n, 5))
    noise = 0.2 * random.normal(size=(n, DIM))
    return (latent @ project + noise).astype(np.float32)


async def filled(db: Database, metric: Metric = "l2", **options: Any) -> Table:
    """A table with an index."""
    table = await db.create_table("t", dim=DIM, metric=metric)
    await table.upsert(range(N), rows(N, 0))
    await table.create_index("ix", nlist=NLIST, **options)
    return table


async def reached(table: Table, queries: Vectors, **how: Any) -> tuple[float, float]:
    """Mean recall of the nearest K, and mean rows read."""
    exact = await table.search(queries, K, exact=True)
    found = await table.search(queries, K, **how)
    shares = [len(set(a.ids) & set(b.ids)) / K for a, b in zip(exact, found, strict=True)]
    return float(np.mean(shares)), float(np.mean([hits.rows_scanned for hits in found]))


def calibrations_of(db: Database) -> calibrations.Calibrations:
    """Those of an open database."""
    source = db._source
    assert isinstance(source, LiveSource)
    return source._supervisor.calibrations


def finding_of(db: Database) -> calibrations.Finding:
    """The only one behind an open database."""
    (found,) = calibrations_of(db)._known.values()
    return found


async def another(db: Database, than: calibrations.Finding) -> None:
    """Wait until it was found anew, which somebody has asked for."""
    with trio.fail_after(60):
        while finding_of(db) is than:
            (asked,) = calibrations_of(db)._asked.values()
            await asked.wait()


@pytest.fixture
def restless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rules are found anew as soon as there is a reason."""
    monkeypatch.setattr(calibrations, "REST_S", 0.0)
    monkeypatch.setattr(calibrations, "REST_RATIO", 0)


@pytest.mark.parametrize("codec", ["flat", "sq8"])
@pytest.mark.parametrize("metric", ["l2", "cosine", "dot"])
async def test_an_accuracy_is_reached(metric: Metric, codec: str) -> None:
    """On queries that are no rows; more of it reads more, and all of it is exact."""
    async with checked_db() as db:
        table = await filled(db, metric, codec=codec)
        queries, before = rows(QUERIES, 1), 0.0
        for accuracy in (0.8, 0.9, 0.97):
            recall, read = await reached(table, queries, accuracy=accuracy)
            assert recall > accuracy - SLACK
            assert before <= read < N / 2
            before = read
        assert await reached(table, queries[:20], accuracy=1) == (1.0, N)


async def test_it_is_reached_for_a_large_k() -> None:
    """Also for one between those that are calibrated."""
    async with checked_db() as db:
        table = await filled(db)
        queries = rows(QUERIES, 1)
        exact = await table.search(queries, 400, exact=True)
        found = await table.search(queries, 400, accuracy=0.9)
        shares = [len(set(a.ids) & set(b.ids)) / 400 for a, b in zip(exact, found, strict=True)]
        assert float(np.mean(shares)) > 0.9 - SLACK


async def test_the_index_says_how_accurate_a_search_is() -> None:
    """Its target is the default; an accuracy, and an nprobe, of the call come first."""
    async with checked_db() as db:
        table = await filled(db, target_accuracy=95)
        query = rows(1, 1)[0]
        as_asked = await table.search(query, K, accuracy=0.95)
        by_default = await table.search(query, K)
        assert by_default.ids == as_asked.ids
        assert by_default.partitions_probed == as_asked.partitions_probed < NLIST
        assert (await table.search(query, K, nprobe=7)).partitions_probed == 7
        assert (await table.search(query, K, accuracy=1)).partitions_probed == NLIST


@pytest.mark.usefixtures("restless")
async def test_it_is_reached_again_after_a_drift() -> None:
    """When a tenth of the rows has changed, the next search has the index calibrated anew."""
    async with checked_db() as db:
        table = await filled(db)
        queries = np.concatenate([rows(QUERIES // 2, 1), rows(QUERIES // 2, 2, shift=2.0)])
        await table.search(queries[0], accuracy=0.9)
        first = finding_of(db)
        await table.upsert(range(N, 2 * N), rows(N, 3, shift=2.0))

        await table.search(queries[0], accuracy=0.9)
        await another(db, first)

        recall, _ = await reached(table, queries, accuracy=0.9)
        assert recall > 0.9 - SLACK


@pytest.mark.usefixtures("restless")
async def test_queries_unlike_the_rows_are_taken_into_account() -> None:
    """When enough were asked that find less than was promised, the index is calibrated by them."""
    async with checked_db() as db:
        table = await filled(db)
        queries = 3 * rows(QUERIES, 4)  # far outside
        await table.search(queries[0], K, accuracy=0.95)
        first = finding_of(db)
        before, _ = await reached(table, queries, accuracy=0.95)

        await table.search(queries[0], accuracy=0.95)
        await another(db, first)

        after, _ = await reached(table, queries, accuracy=0.95)
        assert before < 0.95 - SLACK
        assert after > 0.95 - SLACK


async def test_it_is_calibrated_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Searches that come together wait for one calibration, and the next open reads it."""
    path, query = tmp_path / "a.db", rows(1, 1)[0]
    async with checked_db(path) as db:
        table = await filled(db)
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(lambda: table.search(query, K, accuracy=0.9))
        found = await table.search(query, K, accuracy=0.9)
        assert finding_of(db).rules is not None

    monkeypatch.setattr("centroidb.engine.actors.calibrations.calibrate", None)
    for read_only in (False, True):
        async with open_db(path, read_only=read_only) as db:
            again = await (await db.table("t")).search(query, K, accuracy=0.9)
            assert again.ids == found.ids


async def test_few_rows_are_read_whole() -> None:
    """Where there are too few rows to draw queries from, all partitions are probed."""
    async with checked_db() as db:
        table = await db.create_table("t", dim=DIM)
        await table.upsert(range(20), rows(20, 0))
        await table.create_index("ix", nlist=3)
        hits = await table.search(rows(1, 1)[0], 5, accuracy=0.5)
        assert hits.rows_scanned == 20


async def test_snapshots_and_transactions_take_one_too() -> None:
    """They find what a table finds, with the writes of the transaction."""
    async with checked_db() as db:
        table = await filled(db)
        query = rows(1, 1)[0]
        found = await table.search(query, K, accuracy=0.9)
        async with db.snapshot() as snapshot:
            assert (await snapshot.search("t", query, K, accuracy=0.9)).ids == found.ids
        async with db.transaction() as transaction:
            await transaction.upsert("t", 70_000, query)
            hits = await transaction.search("t", query, K, accuracy=0.9)
            assert hits.ids == [70_000, *found.ids[:-1]]


WRONG = {
    "none": (0, "expected a share above 0, at most 1, got 0"),
    "negative": (-0.1, "got -0.1"),
    "percent": (95, "got 95"),
    "no number": (float("nan"), "got nan"),
    "text": ("0.9", "got '0.9'"),
    "a truth value": (True, "got True"),
}


@pytest.mark.parametrize(("accuracy", "words"), WRONG.values(), ids=WRONG.keys())
async def test_what_is_no_share_is_refused(accuracy: Any, words: str) -> None:
    """InputError, with or without an index; nprobe and accuracy together too."""
    async with checked_db() as db:
        table = await db.create_table("t", dim=DIM)
        with pytest.raises(InputError, match=f"accuracy: .*{words}"):
            await table.search(np.zeros(DIM), accuracy=accuracy)
        with pytest.raises(InputError, match="nprobe or accuracy, got both"):
            await table.search(np.zeros(DIM), nprobe=1, accuracy=0.5)
