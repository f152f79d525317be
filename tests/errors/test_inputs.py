"""Bad input: each call refuses it with its type, names what was wrong, and changes nothing."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from centroidb import (
    CentroiDBError,
    Database,
    DuplicateKeyError,
    InputError,
    NotFoundError,
    TransactionTooLarge,
)
from tests.errors.harness import LIMITS, filled_db, unchanged, vectors
from tests.support.databases import checked_db

NAN, INF = float("nan"), float("inf")
OK = [1.0, 2.0, 3.0]

Call = Callable[[Any, Any], Awaitable[Any]]
Case = tuple[Call, type[CentroiDBError], str]


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    """A filled database."""
    async with filled_db(tmp_path / "a.db") as made:
        yield made


def nested(depth: int) -> list[Any]:
    """Lists in lists."""
    made: list[Any] = []
    for _ in range(depth):
        made = [made]
    return made


def circular() -> list[Any]:
    """A list in itself."""
    made: list[Any] = []
    made.append(made)
    return made


VECTORS: dict[str, Case] = {
    "NaN": (lambda i, _: i.upsert(1, [1, NAN, 3]), InputError, "'ints', row 0: .*finite.*got nan"),
    "inf": (lambda i, _: i.upsert(1, [1, INF, 3]), InputError, "got inf"),
    "-inf": (lambda i, _: i.upsert(1, [1, -INF, 3]), InputError, "got -inf"),
    "inf only as float32": (lambda i, _: i.upsert(1, [1e39, 0, 0]), InputError, "got inf"),
    "huge": (
        lambda i, _: i.upsert(1, [1e18, 1e18, 0]),
        InputError,
        r"norm at most 1e\+18, got norm 1.41e\+18",
    ),
    "the second row": (
        lambda i, _: i.upsert([1, 2], [OK, [NAN, 0, 0]]),
        InputError,
        "'ints', row 1",
    ),
    "zero under cosine": (
        lambda _, t: t.upsert(["x", "y"], [OK, [0, 0, 0]]),
        InputError,
        "'texts', row 1: a zero vector has no cosine distance",
    ),
    "too few dims": (
        lambda i, _: i.upsert(1, [1, 2]),
        InputError,
        r"'ints': expected a vector of 3 dimensions, got shape \(2,\)",
    ),
    "too many dims": (
        lambda i, _: i.upsert([1], [[1, 2, 3, 4]]),
        InputError,
        r"got shape \(1, 4\)",
    ),
    "three axes": (lambda i, _: i.upsert([1], [[OK]]), InputError, r"got shape \(1, 1, 3\)"),
    "a number": (lambda i, _: i.upsert(1, 5.0), InputError, r"got shape \(\)"),
    "ragged": (lambda i, _: i.upsert([1, 2], [OK, [1, 2]]), InputError, "not all of 3 dimensions"),
    "text": (lambda i, _: i.upsert(1, ["a", "b", "c"]), InputError, "vectors of numbers, got <U1"),
    "bool": (lambda i, _: i.upsert(1, [True, True, False]), InputError, "numbers, got bool"),
    "complex": (lambda i, _: i.upsert(1, [1j, 2, 3]), InputError, "numbers, got complex128"),
    "objects": (lambda i, _: i.upsert(1, [None, 2, 3]), InputError, "numbers, got object"),
    "bytes": (lambda i, _: i.upsert(1, b"abcdefghijkl"), InputError, "numbers, got"),
    "none": (lambda i, _: i.upsert(1, None), InputError, "expected"),
    "more vectors": (lambda i, _: i.upsert([1], [OK, OK]), InputError, "1 keys but 2 vectors"),
    "fewer vectors": (lambda i, _: i.upsert([1, 2], [OK]), InputError, "2 keys but 1 vectors"),
    "vectors without keys": (lambda i, _: i.upsert([], [OK]), InputError, "0 keys but 1 vectors"),
}

KEYS: dict[str, Case] = {
    "text for int": (
        lambda i, _: i.upsert(["1"], [OK]),
        InputError,
        "'ints', row 0: expected a key of type int, got str '1'",
    ),
    "int for text": (lambda _, t: t.upsert([1], [OK]), InputError, "type str, got int 1"),
    "float": (lambda i, _: i.upsert([1.0], [OK]), InputError, "type int, got float 1.0"),
    "bool": (lambda i, _: i.upsert([True], [OK]), InputError, "type int, got bool True"),
    "None": (lambda i, _: i.upsert([None], [OK]), InputError, "type int, got NoneType"),
    "bytes": (lambda _, t: t.upsert([b"a"], [OK]), InputError, "type str, got bytes"),
    "one key of bytes": (lambda i, _: i.get(b"a"), InputError, "type int, got bytes"),
    "a tuple": (lambda i, _: i.upsert([(1, 2)], [OK]), InputError, "type int, got tuple"),
    "too large": (
        lambda i, _: i.upsert([1, 2**63], [OK, OK]),
        InputError,
        "row 1: key 9223372036854775808 does not fit in 64 bits",
    ),
    "too small": (lambda i, _: i.upsert([-(2**63) - 1], [OK]), InputError, "fit in 64 bits"),
    "a large numpy key": (
        lambda i, _: i.upsert(np.array([2**64 - 1], np.uint64), [OK]),
        InputError,
        "fit in 64 bits",
    ),
    "numpy floats": (lambda i, _: i.upsert(np.array([1.5]), [OK]), InputError, "got float 1.5"),
    "a matrix": (lambda i, _: i.upsert(np.array([[1]]), [OK]), InputError, "key of type int"),
    "too long": (lambda _, t: t.upsert(["x" * 21], [OK]), InputError, "of at most 20 bytes"),
    "too long in bytes": (lambda _, t: t.upsert(["é" * 11], [OK]), InputError, "at most 20 bytes"),
    "no UTF-8": (lambda _, t: t.upsert(["\ud800"], [OK]), InputError, "is not UTF-8 text"),
    "get": (lambda i, _: i.get("a"), InputError, "expected a key of type int, got str 'a'"),
    "get many": (lambda _, t: t.get(["a", 2]), InputError, "row 1: .*type str, got int 2"),
    "delete": (lambda i, _: i.delete([1, "b"]), InputError, "row 1: .*type int, got str 'b'"),
    "update": (lambda i, _: i.update_payloads([1, 2.5], [1, 2]), InputError, "got float 2.5"),
    "a duplicate": (
        lambda i, _: i.insert([100, 5], [OK, OK]),
        DuplicateKeyError,
        "'ints': key 5 is there already",
    ),
    "twice in an insert": (
        lambda i, _: i.insert([100, 101, 100], [OK, OK, OK]),
        DuplicateKeyError,
        "key 100 comes twice in one insert",
    ),
    "twice in an update": (
        lambda i, _: i.update_payloads([1, 1], [1, 2]),
        DuplicateKeyError,
        "key 1 comes twice in one update_payloads",
    ),
    "update of what is not there": (
        lambda i, _: i.update_payloads([1, 999], [1, 2]),
        NotFoundError,
        "'ints': no row with key 999",
    ),
}

PAYLOADS: dict[str, Case] = {
    "a set": (lambda i, _: i.upsert(1, OK, {1, 2}), InputError, "'ints', row 0: payload is not"),
    "an object": (lambda i, _: i.upsert(1, OK, object()), InputError, "payload is not JSON"),
    "bytes": (lambda i, _: i.upsert(1, OK, b"x"), InputError, "payload is not JSON"),
    "NaN": (lambda i, _: i.upsert(1, OK, {"a": NAN}), InputError, "payload is not JSON"),
    "no UTF-8": (lambda i, _: i.upsert(1, OK, "\ud800"), InputError, "payload is not JSON"),
    "circular": (lambda i, _: i.upsert(1, OK, circular()), InputError, "payload is not JSON"),
    "too deep": (lambda i, _: i.upsert(1, OK, nested(5_000)), InputError, "payload is not JSON"),
    "too long": (
        lambda i, _: i.upsert([1, 2], [OK, OK], [None, "x" * 199]),
        InputError,
        "row 1: payload of 201 bytes, expected at most 200",
    ),
    "too long in bytes": (
        lambda i, _: i.upsert(1, OK, "é" * 100),
        InputError,
        "payload of 202 bytes",
    ),
    "too few": (
        lambda i, _: i.upsert([1, 2], [OK, OK], [None]),
        InputError,
        "'ints': expected 2 payloads, got 1",
    ),
    "too many": (lambda i, _: i.upsert([1], [OK], [1, 2]), InputError, "1 payloads, got 2"),
    "one for many": (
        lambda i, _: i.upsert([1, 2], [OK, OK], {"a": 1}),
        InputError,
        "expected 2 payloads, got 1",
    ),
    "a number for many": (
        lambda i, _: i.upsert([1, 2], [OK, OK], 7),
        InputError,
        "expected a payload a row, got 7",
    ),
    "update": (lambda i, _: i.update_payloads(1, {1, 2}), InputError, "payload is not JSON"),
    "update too few": (
        lambda i, _: i.update_payloads([1, 2], [1]),
        InputError,
        "expected 2 payloads, got 1",
    ),
}

DICTS: dict[str, Case] = {
    "no mapping": (
        lambda i, _: i.upsert([5, 6]),
        InputError,
        "row 0: expected a mapping .*got int",
    ),
    "no vector": (lambda i, _: i.upsert([{"id": 1}]), InputError, r"row 0: .*got \['id'\]"),
    "no id": (lambda i, _: i.upsert([{"vector": OK}]), InputError, r"got \['vector'\]"),
    "a name too many": (
        lambda i, _: i.upsert([{"id": 1, "vector": OK, "payloads": 1}]),
        InputError,
        r"got \['id', 'payloads', 'vector'\]",
    ),
    "a bad vector": (
        lambda i, _: i.upsert([{"id": 1, "vector": OK}, {"id": 2, "vector": [1, 2]}]),
        InputError,
        "not all of 3 dimensions",
    ),
    "nothing": (lambda i, _: i.upsert(5), InputError, "vectors: expected one a key, got None"),
}

SEARCHES: dict[str, Case] = {
    "NaN": (lambda i, _: i.search([NAN, 0, 0]), InputError, "row 0: expected a finite query"),
    "inf": (lambda i, _: i.search([OK, [INF, 0, 0]]), InputError, "row 1: .*got inf"),
    "huge": (lambda i, _: i.search([1e30, 0, 0]), InputError, "got norm 1e"),
    "zero under cosine": (
        lambda _, t: t.search([0, 0, 0]),
        InputError,
        "a zero query vector has no cosine distance",
    ),
    "zero under cosine for the asking": (
        lambda i, _: i.search([0, 0, 0], metric="cosine"),
        InputError,
        "a zero query vector has no cosine",
    ),
    "dims": (lambda i, _: i.search([1, 2]), InputError, "query vector of 3 dimensions, got shape"),
    "text": (lambda i, _: i.search("abc"), InputError, "query vectors of numbers, got <U3"),
    "none": (lambda i, _: i.search(None), InputError, "of numbers, got object"),
    "k 0": (lambda i, _: i.search(OK, k=0), InputError, "k: expected 1 to 50, got 0"),
    "k too large": (lambda i, _: i.search(OK, k=51), InputError, "k: expected 1 to 50, got 51"),
    "k a float": (lambda i, _: i.search(OK, k=1.5), InputError, "k: expected an integer, got 1.5"),
    "k a bool": (lambda i, _: i.search(OK, k=True), InputError, "k: expected an integer, got True"),
    "nprobe 0": (lambda i, _: i.search(OK, nprobe=0), InputError, "nprobe: expected 1 to 65535"),
    "nprobe huge": (lambda i, _: i.search(OK, nprobe=10**9), InputError, "nprobe: expected 1 to"),
    "nprobe text": (lambda i, _: i.search(OK, nprobe="4"), InputError, "nprobe: expected an int"),
    "metric": (
        lambda i, _: i.search(OK, metric="euclid"),
        InputError,
        "metric: expected one of l2, cosine, dot, got 'euclid'",
    ),
    "index": (
        lambda i, _: i.search(OK, index="iy"),
        NotFoundError,
        "no index named 'iy'; there are: 'ix'",
    ),
    "index of another table": (
        lambda _, t: t.search(OK, index="ix"),
        NotFoundError,
        "no index named 'ix'; there are: none",
    ),
    "index of another metric": (
        lambda i, _: i.search(OK, index="ix", metric="dot"),
        InputError,
        "index 'ix' is for metric 'l2', got 'dot'",
    ),
}

INDEXES: dict[str, Case] = {
    "name taken": (lambda i, _: i.create_index("ix"), InputError, "index 'ix' exists already"),
    "taken elsewhere": (
        lambda _, t: t.create_index("ix", if_not_exists=True),
        InputError,
        "on another table",
    ),
    "no name": (lambda i, _: i.create_index(""), InputError, "index name: expected text, got ''"),
    "nlist 0": (
        lambda i, _: i.create_index("i2", nlist=0),
        InputError,
        "nlist: .*from 1 to 65,535",
    ),
    "nlist a float": (lambda i, _: i.create_index("i2", nlist=2.5), InputError, "nlist: .*got 2.5"),
    "codec": (
        lambda i, _: i.create_index("i2", codec="pq"),
        InputError,
        "codec: expected one of auto, flat, sq8, got 'pq'",
    ),
    "centroid search": (
        lambda i, _: i.create_index("i2", centroid_search="lsh"),
        InputError,
        "centroid_search: expected one of auto, exact, hnsw",
    ),
    "metric": (
        lambda i, _: i.create_index("i2", metric="l1"),
        InputError,
        "metric: expected one of",
    ),
    "samples": (
        lambda i, _: i.create_index("i2", samples_per_partition=0),
        InputError,
        "samples_per_partition: .*at least 1",
    ),
    "seed": (lambda i, _: i.create_index("i2", seed=-1), InputError, "seed: .*at least 0"),
    "accuracy": (
        lambda i, _: i.create_index("i2", target_accuracy=101),
        InputError,
        "target_accuracy: expected an integer from 1 to 100, got 101",
    ),
    "parallel 0": (
        lambda i, _: i.create_index("i2", parallel=0),
        InputError,
        "parallel: expected 1",
    ),
    "parallel huge": (
        lambda i, _: i.create_index("i2", parallel=10**6),
        InputError,
        "parallel: expected 1 to",
    ),
    "zero rows under cosine": (
        lambda i, _: i.create_index("i2", metric="kosine"),
        InputError,
        "metric: expected one of l2, cosine, dot",
    ),
}

GROUPS = {
    "vector": VECTORS,
    "key": KEYS,
    "payload": PAYLOADS,
    "dict": DICTS,
    "search": SEARCHES,
    "index": INDEXES,
}
CASES = {
    f"{group}: {name}": case for group, cases in GROUPS.items() for name, case in cases.items()
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
async def test_bad_input_is_refused(db: Database, case: Case) -> None:
    """A call with bad input raises its typed error, naming place and value; nothing changes."""
    call, error, words = case
    async with unchanged(db):
        with pytest.raises(error, match=words) as caught:
            await call(await db.table("ints"), await db.table("texts"))
    assert type(caught.value) is error


WRITES = {**VECTORS, **{f"key {name}": case for name, case in KEYS.items()}, **PAYLOADS, **DICTS}
FORMS = {"get", "get many", "one key of bytes"}


class InTransaction:
    """The writes of a table, made in a transaction."""

    def __init__(self, transaction: Any, table: str) -> None:
        self._transaction = transaction
        self._table = table

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._transaction, name)
        return lambda *arguments: method(self._table, *arguments)


@pytest.mark.parametrize("case", WRITES.values(), ids=WRITES.keys())
async def test_a_transaction_refuses_it_too(db: Database, case: Case) -> None:
    """The same in a transaction raises the same type, and buffers nothing of the call."""
    call, error, words = case
    async with unchanged(db), db.transaction() as tx:
        ints, texts = InTransaction(tx, "ints"), InTransaction(tx, "texts")
        with pytest.raises(error, match=words):
            await call(ints, texts)
        assert await tx.count("ints") == 60
        assert await tx.count("texts") == 3


async def test_too_large_a_transaction(db: Database) -> None:
    """Beyond the limit of bytes a call raises TransactionTooLarge and buffers nothing of itself."""
    async with db.transaction() as tx:
        await tx.upsert("ints", 1_000, OK)
        with pytest.raises(TransactionTooLarge, match="expected at most 20000"):
            await tx.upsert("ints", np.arange(2_000, 2_500), vectors(500))
        with pytest.raises(TransactionTooLarge, match="expected at most 20000"):
            await tx.delete("ints", range(500))
        assert await tx.count("ints") == 61
    assert await (await db.table("ints")).count() == 61


async def test_limits_themselves_are_allowed(db: Database) -> None:
    """The largest k, key, payload, norm and 64-bit keys are accepted and read back."""
    ints, texts = await db.table("ints"), await db.table("texts")
    await ints.upsert([2**63 - 1, -(2**63)], [[1e18, 0, 0], [1e-45, 0, 0]], [None, "x" * 198])
    await texts.upsert(["é" * 10], [[1e-40, 0, 0]])

    assert len(await ints.search(OK, k=LIMITS.k)) == LIMITS.k
    assert (await ints.get(-(2**63))).payload == "x" * 198
    assert (await texts.search([1, 0, 0], k=1)).ids in (["a"], ["é" * 10])
    assert (await ints.search([1e18, 0, 0], k=1, exact=True)).ids == [2**63 - 1]


async def test_nothing_is_allowed(db: Database) -> None:
    """No rows, no keys and no queries are no error, and change nothing."""
    ints = await db.table("ints")
    async with unchanged(db):
        nothing: list[Any] = [[], np.empty((0, 3)), np.empty((0, 3), np.float32)]
        for empty in nothing:
            await ints.upsert([], empty)
            await ints.insert([], empty)
        await ints.upsert(iter([]))
        await ints.delete([])
        await ints.update_payloads([], [])
        assert await ints.get([]) == []
        assert await ints.search(np.empty((0, 3))) == []
        async with db.transaction() as tx:
            await tx.upsert("ints", [], np.empty((0, 3)))
            await tx.insert("ints", [], [])
            await tx.delete("ints", [])
            assert await tx.search("ints", np.empty((0, 3))) == []


async def test_the_callers_arrays_are_not_kept(db: Database) -> None:
    """An array that its owner fills anew after a call changes nothing that was written with it."""
    ints = await db.table("ints")
    array = np.full((3, 3), 7, np.float32)
    await ints.upsert([100, 101, 102], array)
    async with db.transaction() as tx:
        for key in (200, 201):
            array[0] = key
            await tx.upsert("ints", key, array[0])
        (await tx.get("ints", [200], vectors=True))[0].vector.flags.writeable = False
        array[:] = -1
        found = await tx.search("ints", [200, 200, 200], k=1)
        assert (found.ids, found.distances.tolist()) == ([200], [0.0])
    array[:] = -5

    assert (await ints.search([7, 7, 7], k=3, nprobe=4)).ids == [100, 101, 102]
    assert (await ints.get(201, vectors=True)).vector.tolist() == [201, 201, 201]


async def test_the_rows_read_are_not_the_databases(db: Database) -> None:
    """What a transaction reads of its own rows can not be changed behind its back."""
    async with db.transaction() as tx:
        await tx.upsert("ints", 300, OK)
        row = await tx.get("ints", 300, vectors=True)
        with pytest.raises(ValueError, match="read-only"):
            row.vector[0] = 9


@pytest.mark.parametrize("depth", [10, 50, 100, 900])
async def test_a_payload_that_is_taken_can_be_read(tmp_path: Path, depth: int) -> None:
    """A payload of whatever depth is refused, or read back from deep in a program too."""
    async with checked_db(tmp_path / "a.db") as db:
        table = await db.create_table("t", dim=3)
        if depth > 64:
            with pytest.raises(InputError, match="payload is nested deeper than 64"):
                await table.upsert(1, OK, nested(depth))
            return
        await table.upsert(1, OK, nested(depth))

        async def deep(levels: int) -> Any:
            return await (deep(levels - 1) if levels else table.get(1))

        assert (await deep(200)).payload == nested(depth)
