"""Keys that are in memory beside vectors: answers are the same with them."""

from pathlib import Path

import numpy as np
import pytest

from centroidb.engine.index.compiled import KERNELS
from centroidb.engine.storage.keys import Keys
from centroidb.wal.types import TableId
from tests.support.databases import checked_db

ROWS, DIM = 900, 80
T = TableId(1)


def numbered(*numbers: int) -> np.ndarray:
    """int64"""
    return np.array(numbers, np.int64)


def test_keys_are_known_by_version() -> None:
    """Those learned, not those of rows with payloads, and none of another table."""
    keys = Keys(lambda _: True)
    keys.learn(T, numbered(3, 1), ["c", None])
    keys.learn(T, numbered(700), ["z"])

    assert keys.of(T, numbered(1, 3, 700)) == [None, "c", "z"]
    assert keys.of(T, numbered(3, 5_000)) == [None, None]
    assert keys.of(TableId(2), numbered(3)) == [None]


def test_what_keys_take_is_claimed_and_given_back() -> None:
    """Other tables make room; a table too large for all of it is not remembered."""
    room = [2_500]

    def claim(nbytes: int) -> bool:
        if nbytes > room[0]:
            return False
        room[0] -= nbytes
        return True

    keys = Keys(claim)
    keys.learn(T, numbered(*range(50)), list(range(1_000, 1_050)))
    keys.learn(TableId(2), numbered(*range(50)), list(range(1_000, 1_050)))
    assert room[0] >= 0
    assert keys.of(TableId(2), numbered(7)) == [1_007]
    assert keys.of(T, numbered(7)) == [None]

    keys.learn(TableId(3), numbered(*range(5_000)), list(range(5_000)))
    assert keys.of(TableId(3), numbered(7)) == [None]
    assert room[0] == 2_500


def test_keys_that_come_again_are_claimed_once() -> None:
    """Their partition went and is read anew."""
    claimed = []
    keys = Keys(lambda nbytes: claimed.append(nbytes) or True)  # type: ignore[func-returns-value]
    for _ in range(3):
        keys.learn(T, numbered(1, 2), ["a", None])

    assert claimed[0] > 0
    assert claimed[1:] == [0, 0]


@pytest.mark.parametrize("key_type", ["int", "str"])
async def test_answers_are_the_same_with_known_keys(tmp_path: Path, key_type: str) -> None:
    """With payloads in some rows, and rows that are replaced, with payloads or without."""
    pytest.importorskip("numba")
    random = np.random.default_rng(5)
    vectors = random.standard_normal((ROWS, DIM)).astype(np.float32)
    names = list(range(ROWS)) if key_type == "int" else [f"name {at}" for at in range(ROWS)]
    payloads = [{"n": at} if at % 3 == 0 else None for at in range(ROWS)]
    KERNELS.load()
    async with checked_db(tmp_path / "x.db") as db:
        table = await db.create_table("t", dim=DIM, key_type=key_type)  # type: ignore[arg-type]
        await table.insert(names, vectors, payloads)
        await table.create_index("i", nlist=12, codec="sq8")
        query = vectors[0] + 0.1
        before = await table.search(query, 40, exact=True)
        for _ in range(4):
            found = await table.search(query, 40, nprobe=12)
            assert found.ids == before.ids
            assert found.payloads == before.payloads
        vids = numbered(*range(1, ROWS + 1))
        known = table._source._supervisor.state.cache.keys.of(table._id, vids)  # type: ignore[attr-defined]
        assert known == [None if payloads[at] else names[at] for at in range(ROWS)]

        await table.update_payloads(before.ids[:2], [None, {"new": 1}])
        await table.delete(before.ids[2])
        found = await table.search(query, 39, nprobe=12)
        assert found.ids == [*before.ids[:2], *before.ids[3:]]
        assert found.payloads[:2] == [None, {"new": 1}]
