"""How connections are opened, and what they may not do."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from centroidb.wal import connection as connections
from centroidb.wal.connection import close_untouched, connect, make_writer, open_reader
from centroidb.wal.errors import InputError, LockedError, StorageError
from centroidb.wal.file import DatabaseFile, create
from tests.wal.files import contents, crash_copy, create_table, open_checked


@pytest.fixture
def file(tmp_path: Path) -> Iterator[DatabaseFile]:
    """An open file."""
    with open_checked(tmp_path / "a.db") as made:
        yield made


def pragma(connection: sqlite3.Connection, name: str) -> object:
    """The value of a pragma."""
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


def test_the_writer_is_durable_and_checkpoints_itself(file: DatabaseFile) -> None:
    """The writer is in WAL mode, syncs each commit, and SQLite makes no checkpoint of its own."""
    assert pragma(file.writer, "journal_mode") == "wal"
    assert pragma(file.writer, "synchronous") == 2
    assert pragma(file.writer, "wal_autocheckpoint") == 0


@pytest.mark.parametrize(("durability", "level"), [("full", 2), ("relaxed", 1), ("none", 0)])
def test_durability_is_what_was_asked_for(tmp_path: Path, durability: str, level: int) -> None:
    """full syncs each commit, relaxed at checkpoints, none never."""
    create(str(tmp_path / "b.db"))
    writer = connect(str(tmp_path / "b.db"), "rw")
    make_writer(writer, durability)  # type: ignore[arg-type]  # one of the three

    assert pragma(writer, "synchronous") == level
    writer.close()


def test_readers_can_not_write(file: DatabaseFile) -> None:
    """A reader refuses to change anything, and never makes a checkpoint."""
    reader = file.open_reader()
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader.execute("DELETE FROM meta")
    assert pragma(reader, "wal_autocheckpoint") == 0
    reader.close()


@pytest.mark.parametrize("access", ["rw", "ro"])
def test_every_connection_is_hardened(file: DatabaseFile, access: str) -> None:
    """A hostile schema may call nothing, stray pointers reach no map, cells are checked."""
    reader = open_reader(file.path, access)  # type: ignore[arg-type]  # one of the two
    for connection in (file.writer, reader):
        assert pragma(connection, "trusted_schema") == 0
        assert pragma(connection, "cell_size_check") == 1
        assert connection.execute("PRAGMA mmap_size").fetchall() in ([(0,)], [])
        assert connection.getlimit(sqlite3.SQLITE_LIMIT_LENGTH) == 1 << 28
        assert connection.getlimit(sqlite3.SQLITE_LIMIT_ATTACHED) == 1
        assert connection.getlimit(sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH) == 1
    reader.close()


def test_a_missing_file_is_not_made(tmp_path: Path) -> None:
    """Connecting to what is not there is an error, not a new empty database."""
    with pytest.raises(StorageError, match="can not be opened"):
        connect(str(tmp_path / "a.db"), "rw").execute("SELECT 1")
    assert not (tmp_path / "a.db").exists()


def test_a_value_beyond_the_limit_is_refused(file: DatabaseFile) -> None:
    """SQLite itself refuses a value larger than the limit, before it is in memory twice."""
    with pytest.raises(sqlite3.DataError, match="too big"):
        file.writer.execute("SELECT zeroblob(?)", ((1 << 28) + 1,)).fetchone()


def test_an_untouched_close_makes_no_checkpoint(tmp_path: Path) -> None:
    """The last connection, closed untouched, leaves file and WAL; a plain close does not."""
    with open_checked(tmp_path / "a.db") as file:
        create_table(file.writer)
        copy = crash_copy(file.path, tmp_path / "b.db")
    before = contents(copy)
    for close in (lambda last: close_untouched(last, str(copy)), lambda last: last.close()):
        assert contents(copy) == before
        last = connect(str(copy), "rw")
        last.execute("SELECT count(*) FROM wal").fetchone()
        close(last)

    assert list(contents(copy)) == ["b.db"]


def test_an_exclusive_lock_elsewhere_is_a_locked_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another program's exclusive lock on the file is LockedError, and the file opens after it."""
    path = tmp_path / "a.db"
    create(str(path))
    monkeypatch.setattr(connections, "_BUSY_TIMEOUT_S", 0.0)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")

    words = "another program holds a lock on the file"
    with pytest.raises(LockedError, match=words), open_checked(path):
        pass
    other.close()
    with open_checked(path):
        pass


def test_a_uri_in_a_name_is_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path with URI parameters opens the file of that name and ignores none of it."""
    monkeypatch.chdir(tmp_path)
    name = str(tmp_path / "a.db?mode=memory&cache=shared")
    with open_checked(name):
        pass
    assert Path(name).stat().st_size
    with pytest.raises(InputError), open_checked("file:a.db"):
        pass
