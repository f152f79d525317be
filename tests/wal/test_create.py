"""Creating a file: whole or not at all, and never over somebody else's."""

import os
import sqlite3
import threading
from pathlib import Path

import pytest

from centroidb.wal import meta, schema
from centroidb.wal.errors import InputError, NotADatabaseError
from centroidb.wal.file import create, open_file
from tests.wal.files import create_table, keys_in, names, open_checked, put, run_python


def test_what_freezes_with_the_first_table_is_set(tmp_path: Path) -> None:
    """A new file has our page size, gives pages back in slices, and is in rollback mode."""
    path = tmp_path / "a.db"
    create(str(path))
    connection = sqlite3.connect(path)

    def pragma(name: str) -> object:
        return connection.execute(f"PRAGMA {name}").fetchone()[0]

    assert pragma("page_size") == schema.PAGE_SIZE_BYTES
    assert pragma("auto_vacuum") == 2
    assert pragma("journal_mode") == "delete"
    assert pragma("encoding") == "UTF-8"
    assert pragma("user_version") == schema.FORMAT
    assert pragma("application_id") == schema.APPLICATION_ID
    connection.close()


def test_creating_leaves_one_file(tmp_path: Path) -> None:
    """Nothing lies beside a new file."""
    create(str(tmp_path / "a.db"))

    assert names(tmp_path) == ["a.db"]


def test_a_file_that_is_there_stays(tmp_path: Path) -> None:
    """Creating where a database was made in the meantime leaves that database as it is."""
    path = tmp_path / "a.db"
    with open_checked(path) as file:
        put(file.writer, create_table(file.writer), 1, 2)
    before = path.read_bytes()

    create(str(path))

    assert path.read_bytes() == before
    assert names(tmp_path) == ["a.db"]


def test_an_open_file_stays(tmp_path: Path) -> None:
    """Creating where a database is open neither replaces it nor loses what is committed."""
    path = tmp_path / "a.db"
    with open_checked(path) as file:
        table = create_table(file.writer)
        create(str(path))
        put(file.writer, table, 1)
        assert file.hold.still_there()

    with open_checked(path) as file:
        assert keys_in(file.writer, table) == [1]


def test_an_empty_file_becomes_a_database(tmp_path: Path) -> None:
    """An empty file, as tempfile makes one, is replaced by a database."""
    path = tmp_path / "a.db"
    path.touch()

    with open_checked(path):
        pass
    assert path.stat().st_size


def test_creators_at_the_same_time_make_one_file(tmp_path: Path) -> None:
    """Of many that create the same file at once one makes it, and nobody fails."""
    path = tmp_path / "a.db"
    start = threading.Barrier(8)
    inodes: list[int] = []

    def make() -> None:
        start.wait()
        create(str(path))
        inodes.append(path.stat().st_ino)

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(inodes) == 8
    assert len(set(inodes)) == 1
    assert names(tmp_path) == ["a.db"]


KILLED = """
import os, sys
from centroidb.wal import file
name, calls = sys.argv[2], int(sys.argv[3])
real, seen = getattr(os, name), []
def killed(*arguments, **options):
    seen.append(name)
    if len(seen) == calls:
        os._exit(9)
    return real(*arguments, **options)
setattr(os, name, killed)
file.create(sys.argv[1])
"""


@pytest.mark.parametrize(
    ("name", "call"), [("open", 2), ("replace", 1), ("fsync", 1), ("close", 1), ("close", 2)]
)
def test_killed_while_creating(tmp_path: Path, name: str, call: int) -> None:
    """A creator killed at any of its steps leaves no file or a whole one; the next open works."""
    path = tmp_path / "a.db"

    assert run_python(KILLED, str(path), name, str(call)).returncode == 9

    assert not path.exists() or path.stat().st_size % schema.PAGE_SIZE_BYTES == 0
    with open_checked(path) as file:
        assert meta.get_int(file.writer, "next_lsn") == 1
    assert names(tmp_path) == ["a.db"]


def test_what_a_killed_creator_left_is_not_used(tmp_path: Path) -> None:
    """A half-made file left beside the place, and its journal, do not get into the new one."""
    path = tmp_path / "a.db"
    Path(f"{path}.creating").write_bytes(b"half" * 10_000)
    Path(f"{path}.creating-journal").write_bytes(b"hot" * 10_000)

    with open_checked(path):
        pass

    assert names(tmp_path) == ["a.db"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "expected the name of a file, got ''"),
        ("a\0b", "expected the name of a file"),
        ("file:a.db", "got a URI"),
        ("file:a.db?mode=ro", "got a URI"),
        (".", "is a folder"),
        ("nowhere/a.db", "the folder of .* does not exist"),
    ],
)
def test_a_name_that_is_no_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, words: str
) -> None:
    """Names that SQLite would take for something else are refused, and nothing is made."""
    monkeypatch.chdir(tmp_path)

    with pytest.raises(InputError, match=words):
        open_file(name, create_missing=True, durability="full", recover=lambda _: None)
    assert names(tmp_path) == []


@pytest.mark.parametrize("name", ["a b?c#d%e.db", "ä\n.db", ":memory:x", "-x.db", "'; DROP.db"])
def test_odd_names_are_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A name with signs that mean something in a URI or in SQL is the name of the file."""
    monkeypatch.chdir(tmp_path)

    with open_checked(name):
        pass
    assert names(tmp_path) == [name]


def test_a_missing_file_is_not_made_unasked(tmp_path: Path) -> None:
    """Without `create_missing` a missing or empty file is refused and not touched."""
    path = tmp_path / "a.db"
    with pytest.raises(NotADatabaseError, match="there is no such file"):
        open_file(str(path), create_missing=False, durability="full", recover=lambda _: None)
    assert not path.exists()

    path.touch()
    with pytest.raises(NotADatabaseError, match="it is empty"):
        open_file(str(path), create_missing=False, durability="full", recover=lambda _: None)
    assert path.stat().st_size == 0


def test_a_new_file_has_the_rights_the_umask_leaves(tmp_path: Path) -> None:
    """The file, and so SQLite's WAL beside it, is as private as the caller's umask says."""
    before = os.umask(0o077)
    try:
        create(str(tmp_path / "a.db"))
    finally:
        os.umask(before)

    assert (tmp_path / "a.db").stat().st_mode & 0o777 == 0o600
