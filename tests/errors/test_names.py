"""Names and options: unknown, taken or impossible ones, each refused with what would be right."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from centroidb import CentroiDBError, Database, InputError, NotFoundError, open_db
from tests.errors.harness import filled_db, unchanged

Call = Callable[[Any], Awaitable[Any]]
Case = tuple[Call, type[CentroiDBError], str]


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    """A filled database."""
    async with filled_db(tmp_path / "a.db") as made:
        yield made


async def in_transaction(db: Database, **options: Any) -> None:
    """Begin a transaction."""
    async with db.transaction(**options):
        pass


async def read_unknown(db: Database) -> None:
    """Read an unknown table in a snapshot."""
    async with db.snapshot() as snapshot:
        await snapshot.count("intz")


async def write_unknown(db: Database) -> None:
    """Write to an unknown table in a transaction."""
    async with db.transaction() as tx:
        await tx.upsert("intz", 1, [1, 2, 3])


def make(name: Any = "new", **options: Any) -> Call:
    """Create a table."""
    return lambda db: db.create_table(name, **{"dim": 3, **options})


CASES: dict[str, Case] = {
    "an unknown table": (
        lambda db: db.table("intz"),
        NotFoundError,
        "no table named 'intz'; did you mean 'ints'",
    ),
    "nothing like it": (
        lambda db: db.table("orders"),
        NotFoundError,
        "no table named 'orders'; there are: 'ints', 'texts'",
    ),
    "a number for a table": (
        lambda db: db.table(5),
        InputError,
        "table name: expected text, got 5",
    ),
    "None for a table": (lambda db: db.table(None), InputError, "table name: expected text"),
    "None for an index": (lambda db: db.index(None), InputError, "index name: expected text"),
    "in a snapshot": (read_unknown, NotFoundError, "no table named 'intz'; did you mean 'ints'"),
    "in a transaction": (write_unknown, NotFoundError, "no table named 'intz'; did you"),
    "an unknown index": (
        lambda db: db.index("ixx"),
        NotFoundError,
        "no index named 'ixx'; did you mean 'ix'",
    ),
    "drop an unknown table": (
        lambda db: db.drop_table("text"),
        NotFoundError,
        "no table named 'text'; did you mean 'texts'",
    ),
    "drop an unknown index": (lambda db: db.drop_index("i"), NotFoundError, "no index named 'i'"),
    "a table there is": (make("ints"), InputError, "table 'ints' exists already"),
    "a table there is, with other dims": (
        make("ints", dim=4, if_not_exists=True),
        InputError,
        r"table 'ints' exists already with \(3, 'l2', 'int'\), got \(4, 'l2', 'int'\)",
    ),
    "no name": (make(""), InputError, "table name: expected text, got ''"),
    "a blank name": (make("  "), InputError, "table name: expected text"),
    "a number": (make(7), InputError, "table name: expected text, got 7"),
    "bytes": (make(b"t"), InputError, "table name: expected text"),
    "NUL": (make("a\0b"), InputError, "UTF-8 text of at most 255 bytes"),
    "a surrogate": (make("\ud800"), InputError, "UTF-8 text of at most 255 bytes"),
    "too long": (make("x" * 256), InputError, "UTF-8 text of at most 255 bytes"),
    "dim 0": (make(dim=0), InputError, "dim: expected 1 to 16, got 0"),
    "dim negative": (make(dim=-3), InputError, "dim: expected 1 to 16, got -3"),
    "dim over the limit": (make(dim=17), InputError, "dim: expected 1 to 16, got 17"),
    "dim a float": (make(dim=3.0), InputError, "dim: expected an integer, got 3.0"),
    "dim text": (make(dim="3"), InputError, "dim: expected an integer, got '3'"),
    "metric": (make(metric="cos"), InputError, "metric: expected one of l2, cosine, dot"),
    "metric no text": (make(metric=["l2"]), InputError, "metric: expected one of"),
    "key type": (make(key_type="uuid"), InputError, "key_type: expected int or str, got 'uuid'"),
    "key type a type": (make(key_type=int), InputError, "key_type: expected int or str"),
    "isolation": (
        lambda db: in_transaction(db, isolation="read committed"),
        InputError,
        "isolation: expected snapshot or serializable, got 'read committed'",
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
async def test_a_wrong_name_or_option_is_refused(db: Database, case: Case) -> None:
    """It raises its typed error, with what there is or what was expected; nothing changes."""
    call, error, words = case
    async with unchanged(db):
        with pytest.raises(error, match=words) as caught:
            await call(db)
    assert type(caught.value) is error


ODD_NAMES = [
    *("sqlite_master", "rows_1", "TABLE", "a b", "'; DROP TABLE rows_1; --", '"', "%", "meta"),
    *("é", "e\u0301", "\u202eevil", "\U0001f680", "a\nb", "x" * 255, "Ints", "INTS"),
]


async def test_odd_names_are_names(tmp_path: Path) -> None:
    """A table or index may have any printable or unprintable name, and be found by it alone."""
    path = tmp_path / "a.db"
    async with filled_db(path) as db:
        for number, name in enumerate(ODD_NAMES):
            table = await db.create_table(name, dim=3)
            await table.upsert(number, [number, 0, 1])
            await table.create_index(name)
    async with open_db(path) as db:
        for number, name in enumerate(ODD_NAMES):
            rows = [row.id async for row in (await db.table(name)).iterate()]
            assert rows == [number]
            assert (await db.index(name)).name == name
        assert (await db.check()).errors == ()


OPENINGS: dict[str, tuple[dict[str, Any], str]] = {
    "mode": ({"mode": "w"}, "mode: expected create or open, got 'w'"),
    "durability": ({"durability": "none"}, "durability: expected full or relaxed, got 'none'"),
    "cache": ({"cache_bytes": -1}, "cache_bytes: expected 0 to"),
    "cache text": ({"cache_bytes": "1GB"}, "cache_bytes: expected an integer, got '1GB'"),
}


@pytest.mark.parametrize(("options", "words"), OPENINGS.values(), ids=OPENINGS.keys())
async def test_a_wrong_option_opens_nothing(
    tmp_path: Path, options: dict[str, Any], words: str
) -> None:
    """An option of `open_db` that can not be is refused before a file is made."""
    with pytest.raises(InputError, match=words):
        async with open_db(tmp_path / "a.db", **options):
            raise AssertionError("not reached")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["", "a\0b", "file:a.db", b"a.db", 5, None])
@pytest.mark.parametrize("read_only", [False, True])
async def test_what_is_no_path_is_refused(path: Any, read_only: bool) -> None:
    """A path that is no name of a file is InputError, for readers too."""
    with pytest.raises(InputError, match="path: "):
        async with open_db(path, read_only=read_only):
            raise AssertionError("not reached")


async def test_a_dropped_table_is_gone_for_its_holders(db: Database) -> None:
    """Calls on a table that was dropped raise NotFoundError, also when another has its name."""
    table = await db.table("ints")
    await db.drop_table("ints")
    for _ in range(2):
        for call in (table.count, lambda: table.get(1), lambda: table.search([1, 2, 3])):
            with pytest.raises(NotFoundError):
                await call()
        with pytest.raises(NotFoundError, match="table 'ints' was dropped"):
            await table.upsert(1, [1, 2, 3])
        with pytest.raises(NotFoundError):
            await table.create_index("new")
        if await db.tables() and "ints" not in [each.name for each in await db.tables()]:
            await db.create_table("ints", dim=3)
    assert await (await db.table("ints")).count() == 0


async def test_a_dropped_index_is_gone_for_its_holders(db: Database) -> None:
    """Calls on an index that was dropped raise NotFoundError."""
    index = await db.index("ix")
    await db.drop_index("ix")

    for call in (index.rebuild, index.statistics, index.partitions):
        with pytest.raises(NotFoundError, match="index 'ix' was dropped"):
            await call()
    await db.drop_index("ix", if_exists=True)
    await db.drop_table("nothing", if_exists=True)


async def test_a_refused_statement_says_where(db: Database) -> None:
    """A statement that is no SQL of ours raises InputError and changes nothing."""
    async with unchanged(db):
        for statement in ("", "SELECT", "ALTER INDEX ix REBUILD OFFLINE", "DROP TABLE ints; --"):
            with pytest.raises(InputError):
                await db.execute(statement)
        with pytest.raises(NotFoundError, match="no index named 'iy'"):
            await db.execute("ALTER INDEX iy REBUILD ONLINE")
        with pytest.raises(InputError):
            await db.execute(5)  # type: ignore[arg-type]  # that is the point
