"""Files that are refused: each with its typed error, and left byte for byte as it was."""

import os
import sqlite3
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from centroidb.wal.errors import (
    CentroiDBError,
    CorruptError,
    FutureVersionError,
    InputError,
    NotADatabaseError,
)
from centroidb.wal.file import ForeignFile, open_file
from centroidb.wal.schema import PAGE_SIZE_BYTES
from tests.wal.files import contents, create_table, names, open_checked, put


def bytes_at(at: int, new: bytes) -> Callable[[Path], None]:
    """Write `new` over the file at an offset."""

    def damage(path: Path) -> None:
        raw = bytearray(path.read_bytes())
        raw[at : at + len(new)] = new
        path.write_bytes(bytes(raw))

    return damage


def instead(*pairs: tuple[bytes, bytes]) -> Callable[[Path], None]:
    """Some bytes become others of the same length, wherever they stand."""

    def damage(path: Path) -> None:
        raw = path.read_bytes()
        for old, new in pairs:
            assert old in raw
            raw = raw.replace(old, new)
        path.write_bytes(raw)

    return damage


def size(change: Callable[[int], int]) -> Callable[[Path], None]:
    """Cut the file, or let it grow."""
    return lambda path: os.truncate(path, change(path.stat().st_size))


def sql(script: str) -> Callable[[Path], None]:
    """Change the file as any SQLite tool could."""

    def change(path: Path) -> None:
        connection = sqlite3.connect(path, isolation_level=None)
        connection.executescript(script)
        connection.close()

    return change


def text(content: str) -> Callable[[Path], None]:
    """Put text in the place of the file."""

    def replace(path: Path) -> None:
        path.write_text(content, encoding="utf-8")

    return replace


Case = tuple[Callable[[Path], None], type[CentroiDBError], str]

CASES: dict[str, Case] = {
    "text": (text("not a database\n" * 400), NotADatabaseError, "no SQLite file"),
    "16 bytes": (size(lambda _: 16), NotADatabaseError, "no SQLite file"),
    "50 bytes": (size(lambda _: 50), NotADatabaseError, "no SQLite file"),
    "a zeroed first page": (bytes_at(0, bytes(PAGE_SIZE_BYTES)), NotADatabaseError, "no SQLite"),
    "half of the file": (size(lambda n: n // 2), CorruptError, "cut or grown"),
    "the last 100 bytes missing": (size(lambda n: n - 100), CorruptError, "cut or grown"),
    "5,000 bytes more": (size(lambda n: n + 5_000), CorruptError, "cut or grown"),
    "page size 3": (bytes_at(16, struct.pack(">H", 3)), NotADatabaseError, "page size of 3"),
    "another page size": (bytes_at(16, struct.pack(">H", 4_096)), CorruptError, "cut or grown"),
    "write version 3": (bytes_at(18, b"\3"), FutureVersionError, "newer SQLite"),
    "read version 3": (bytes_at(19, b"\3"), FutureVersionError, "newer SQLite"),
    "schema format 9": (bytes_at(44, struct.pack(">I", 9)), FutureVersionError, "newer SQLite"),
    "UTF-16": (bytes_at(56, struct.pack(">I", 2)), CorruptError, "text encoding 2"),
    "a later format": (sql("PRAGMA user_version = 999"), FutureVersionError, "format 999"),
    "another program": (sql("PRAGMA application_id = 7"), NotADatabaseError, "0x7"),
    "no program": (sql("PRAGMA application_id = 0"), NotADatabaseError, "another program"),
    "one table more": (sql("CREATE TABLE more (a)"), CorruptError, "'more': expected None"),
    "a view": (
        sql("CREATE VIEW v AS SELECT * FROM rows_1"),
        CorruptError,
        "'v', a view: nothing like it is made here",
    ),
    "a trigger": (
        sql("CREATE TRIGGER trap AFTER INSERT ON rows_1 BEGIN DELETE FROM rows_1; END"),
        CorruptError,
        "'trap', a trigger: nothing like it is made here",
    ),
    "a virtual table": (
        sql("CREATE VIRTUAL TABLE f USING fts5(a)"),
        CorruptError,
        "expected None",
    ),
    "one index more": (sql("CREATE INDEX i ON rows_1 (key)"), CorruptError, "'i': expected None"),
    "one column more": (
        sql("ALTER TABLE rows_1 ADD COLUMN c TEXT"),
        CorruptError,
        "entry 'rows_1'",
    ),
    "one table fewer": (sql("DROP TABLE dead_1"), CorruptError, "'dead_1': expected 'CREATE"),
    "no tables table": (sql("DROP TABLE tables"), CorruptError, "schema entry 'tables': expected"),
    "an index missing": (sql("DROP INDEX tables_name"), CorruptError, "'tables_name': expected"),
    "storage of no table": (sql("DELETE FROM tables"), CorruptError, "'dead_1': expected None"),
    "an unknown key type": (
        sql("UPDATE tables SET key_type = 'blob'"),
        CorruptError,
        "'dead_1': expected None",
    ),
    "a broken statement of a name that is no text": (
        instead(
            (b"CREATE TABLE live_1", b"CREATE TABLX live_1"),
            (b"tablelive_1live_1", b"tableliv\xed_1live_1"),
        ),
        CorruptError,
        "stored text is damaged",
    ),
    "a statement that is no text": (
        instead(
            (
                b" id INTEGER PRIMARY KEY AUTOINCREMENT, name",
                b"\xedid INTEGER PRIMARY KEY AUTOINCREMENT, name",
            )
        ),
        CorruptError,
        "stored text is damaged",
    ),
    "a broken log": (sql("DELETE FROM wal WHERE lsn = 1"), CorruptError, "log: "),
    "no next LSN": (sql("DELETE FROM meta WHERE key = 'next_lsn'"), CorruptError, "next_lsn"),
    "a text for an LSN": (
        sql("UPDATE meta SET value = 'x' WHERE key = 'next_lsn'"),
        CorruptError,
        "next_lsn should be a number from 0, found 'x'",
    ),
}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a database with one table of three rows."""
    path = tmp_path_factory.mktemp("good") / "a.db"
    with open_checked(path) as file:
        put(file.writer, create_table(file.writer), 1, 2, 3)
    return path.read_bytes()


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_refused_file_stays_as_it_is(good: bytes, tmp_path: Path, case: Case) -> None:
    """Opened for writing, it raises its error, naming file or place, and keeps every byte."""
    damage, error, words = case
    path = tmp_path / "a.db"
    path.write_bytes(good)
    damage(path)
    before = contents(path)

    with pytest.raises(error, match=words):
        open_file(str(path), create_missing=True, durability="full", recover=lambda _: None)

    assert contents(path) == before
    assert names(tmp_path) == ["a.db"]


OF_THE_LOG = {"a broken log", "no next LSN", "a text for an LSN"}
FOR_READERS = {name: case for name, case in CASES.items() if name not in OF_THE_LOG}


@pytest.mark.parametrize("case", FOR_READERS.values(), ids=FOR_READERS.keys())
def test_a_reader_refuses_it_too(good: bytes, tmp_path: Path, case: Case) -> None:
    """Opened for reading only, it raises the same error and keeps every byte."""
    damage, error, words = case
    path = tmp_path / "a.db"
    path.write_bytes(good)
    damage(path)
    before = contents(path)

    with pytest.raises(error, match=words):
        ForeignFile(str(path))

    assert contents(path) == before
    assert names(tmp_path) == ["a.db"]


def test_a_refused_file_can_be_mended_and_opened(good: bytes, tmp_path: Path) -> None:
    """A refusal keeps no lock: with its bytes restored the file opens."""
    path = tmp_path / "a.db"
    path.write_bytes(good)
    sql("PRAGMA user_version = 999")(path)
    with pytest.raises(FutureVersionError):
        open_file(str(path), create_missing=True, durability="full", recover=lambda _: None)
    sql("PRAGMA user_version = 1")(path)

    with open_checked(path):
        pass


def test_another_programs_wal_is_not_played_back(tmp_path: Path) -> None:
    """A foreign file left in WAL mode with a WAL beside it keeps both as they are."""
    path = tmp_path / "a.db"
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("PRAGMA journal_mode = WAL")
    other.execute("CREATE TABLE t (a)")
    copies = {name: (tmp_path / name).read_bytes() for name in ("a.db", "a.db-wal")}
    other.close()
    for name, raw in copies.items():
        (tmp_path / name).write_bytes(raw)
    before = contents(path)

    with pytest.raises(NotADatabaseError):
        open_file(str(path), create_missing=True, durability="full", recover=lambda _: None)
    with pytest.raises(NotADatabaseError):
        ForeignFile(str(path))
    assert contents(path) == before


def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    """A pipe or a device of that name, which looks empty, is refused and stays."""
    path = tmp_path / "a.db"
    os.mkfifo(path)

    with pytest.raises(InputError, match="a device or a pipe"):
        open_file(str(path), create_missing=True, durability="full", recover=lambda _: None)
    assert path.is_fifo()
