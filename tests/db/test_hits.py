"""What a search returns."""

import numpy as np
import pytest

from centroidb import Hit, InputError, NotFoundError
from tests.support.databases import checked_db

from .data import ALL, DIM, clustered, filled, indexed


async def test_hits_are_a_sequence_of_rows_nearest_first() -> None:
    """Hits can be counted, indexed, sliced and iterated, and have columns too."""
    async with checked_db() as db:
        table = await filled(db, 30)
        hits = await table.search(clustered(30)[7], k=5)
        assert len(hits) == 5
        assert hits[0] == Hit(7, 0.0, {"i": 7})
        assert list(hits) == hits[:] == [hits[0], *hits[1:]]
        assert hits[-1].distance == hits.distances.max()
        assert hits.ids == [hit.id for hit in hits]
        assert hits.payloads == [{"i": hit.id} for hit in hits]
        assert hits.distances.dtype == np.float64
        assert hits.rows_scanned == 30
        assert hits.partitions_probed == 0


async def test_hits_print_as_a_table() -> None:
    """One line a row, in columns; long payloads are cut."""
    async with checked_db() as db:
        table = await db.create_table("t", dim=2, key_type="str")
        await table.upsert(["near", "far"], [[0.0, 1.0], [0.0, 3.5]], [{"n": 1}, "x" * 99])
        assert str(await table.search([0, 1])).splitlines() == [
            "    id  distance  payload",
            "'near'         0  {'n': 1}",
            " 'far'       2.5  " + "x" * 59 + "…",
        ]
        await table.delete(["near", "far"])
        assert str(await table.search([0, 1])) == "id  distance  payload"


async def test_a_batch_is_a_list() -> None:
    """Several query vectors get several answers, each as it would be alone."""
    async with checked_db() as db:
        table, _ = await indexed(db, 300)
        queries = clustered(9, seed=2)
        for nprobe in (1, 3, ALL):
            batch = await table.search(queries, 6, nprobe=nprobe)
            alone = [await table.search(query, 6, nprobe=nprobe) for query in queries]
            assert [hits.ids for hits in batch] == [hits.ids for hits in alone]
            for hits, single in zip(batch, alone, strict=True):
                assert hits.distances.tobytes() == single.distances.tobytes()
                assert hits.rows_scanned == single.rows_scanned
                assert hits.partitions_probed == min(nprobe, 10)
        assert await table.search(np.empty((0, DIM)), 6) == []
        assert len(await table.search(queries[:1], 6)) == 1


async def test_the_metric_and_the_index_are_chosen() -> None:
    """A search goes by the index named, else the newest of its metric, else exactly."""
    async with checked_db() as db:
        table, _ = await indexed(db, 300)
        await table.create_index("of cosine", metric="cosine", nlist=4)
        await table.create_index("newer", nlist=5)
        query = clustered(1, seed=3)[0]
        probed = [
            (await table.search(query, nprobe=ALL)).partitions_probed,
            (await table.search(query, nprobe=ALL, index="ix")).partitions_probed,
            (await table.search(query, nprobe=ALL, metric="cosine")).partitions_probed,
            (await table.search(query, nprobe=ALL, metric="dot")).partitions_probed,
            (await table.search(query, nprobe=ALL, exact=True)).partitions_probed,
        ]
        assert probed == [5, 10, 4, 0, 0]
        with pytest.raises(InputError, match="is for metric 'cosine', got 'l2'"):
            await table.search(query, index="of cosine", metric="l2")
        with pytest.raises(NotFoundError, match="did you mean 'newer'"):
            await table.search(query, index="never")


async def test_probing_fewer_partitions_reads_fewer_rows() -> None:
    """Rows read grow with the partitions probed, up to all rows."""
    async with checked_db() as db:
        table, _ = await indexed(db, 600)
        query = clustered(1, seed=4)[0]
        scanned = [(await table.search(query, nprobe=n)).rows_scanned for n in range(1, 11)]
        assert scanned == sorted(set(scanned))
        assert scanned[-1] == 600
        assert (await table.search(query)).partitions_probed == 8


async def test_more_than_there_are() -> None:
    """k beyond the rows gives all rows; k beyond the limit is refused."""
    async with checked_db() as db:
        table = await filled(db, 12)
        assert sorted((await table.search(clustered(1)[0], k=10_000)).ids) == list(range(12))
        with pytest.raises(InputError, match="k: expected 1 to 10000, got 10001"):
            await table.search(clustered(1)[0], k=10_001)
        for wrong in (0, -1, 1.5, True, "3"):
            with pytest.raises(InputError, match="k: expected"):
                await table.search(clustered(1)[0], k=wrong)  # type: ignore[arg-type]  # on purpose
