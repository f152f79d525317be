"""Formats: a file of an older one is migrated whole, or stays what it was."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlite_utils import Database
from sqlite_utils.migrations import Migrations

from centroidb.wal import schema
from centroidb.wal.errors import CorruptError, FutureVersionError, ReadOnlyError, StorageError
from centroidb.wal.file import ForeignFile, create
from tests.wal.files import (
    contents,
    create_table,
    keys_in,
    names,
    open_checked,
    opened,
    put,
    run_python,
)

Step = Callable[[Database], None]


def add_notes(db: Database) -> None:
    """A step to a later format: one column more, filled."""
    db.execute("ALTER TABLE tables ADD COLUMN notes TEXT NOT NULL DEFAULT 'none'")


def fail_half_way(db: Database) -> None:
    """A step that changes something and then fails."""
    db.execute("DROP TABLE query_samples")
    raise ValueError("half way")


def fail_at_once(db: Database) -> None:
    """A step with a statement that SQLite refuses."""
    db.execute("DROP TABLE absent")


def later_format(monkeypatch: pytest.MonkeyPatch, step: Step) -> None:
    """From here on this version's format is 2, and `step` leads there."""
    first = schema.migrations

    def migrations() -> Migrations:
        steps = first()
        steps(name="format_2")(step)
        return steps

    monkeypatch.setattr(schema, "FORMAT", 2)
    monkeypatch.setattr(schema, "migrations", migrations)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database of format 1 with two rows, closed."""
    made = tmp_path / "a.db"
    with open_checked(made) as file:
        put(file.writer, create_table(file.writer), 1, 2)
    return made


def format_of(path: Path) -> int:
    """The format a closed file says it has."""
    connection = sqlite3.connect(path)
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    connection.close()
    return int(version)


def test_an_older_file_is_migrated(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening a file of format 1 with a version of format 2 migrates it and keeps its rows."""
    later_format(monkeypatch, add_notes)

    for _ in range(2):
        with open_checked(path) as file:
            notes = file.writer.execute("SELECT notes FROM tables").fetchall()
            assert notes == [("none",)]
            assert keys_in(file.writer, 1) == [1, 2]  # type: ignore[arg-type]  # the first table
    assert format_of(path) == 2
    assert names(path.parent) == ["a.db"]


def test_a_new_file_has_the_latest_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file made by the later version has gone through the same steps."""
    later_format(monkeypatch, add_notes)
    create(str(tmp_path / "b.db"))

    assert format_of(tmp_path / "b.db") == 2
    with open_checked(tmp_path / "b.db") as file:
        create_table(file.writer)


def test_a_failing_migration_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that fails leaves the older format, byte for byte; the older version opens it."""
    before = contents(path)
    with monkeypatch.context() as patch:
        later_format(patch, fail_half_way)
        with pytest.raises(ValueError, match="half way"):
            opened(path)

    assert contents(path) == before
    with open_checked(path) as file:
        assert keys_in(file.writer, 1) == [1, 2]  # type: ignore[arg-type]  # the first table


def test_sqlites_own_error_in_a_migration_is_typed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An SQL error inside a step comes out as a StorageError that says what was done."""
    later_format(monkeypatch, fail_at_once)

    with pytest.raises(StorageError, match=r"migrating the file: .*no such table"):
        opened(path)
    assert format_of(path) == 1


KILLED_HALF_WAY = """
import os, sys
from centroidb.wal import schema
from centroidb.wal.file import open_file
first = schema.migrations
def migrations():
    steps = first()
    def killed(db):
        db.execute("PRAGMA cache_size = 2")
        db.execute("CREATE TABLE filler (a BLOB)")
        for _ in range(300):
            db.execute("INSERT INTO filler VALUES (zeroblob(20000))")
        os._exit(9)
    steps(name="format_2")(killed)
    return steps
schema.FORMAT, schema.migrations = 2, migrations
open_file(sys.argv[1], create_missing=False, durability="full", recover=lambda _: None)
"""


def test_a_migration_killed_half_way_is_taken_back(path: Path) -> None:
    """A kill inside a migration leaves a journal; the next open finds the older format whole."""
    before = path.read_bytes()
    assert run_python(KILLED_HALF_WAY, str(path)).returncode == 9
    assert Path(f"{path}-journal").stat().st_size
    assert path.stat().st_size > len(before) + 1_000_000

    with open_checked(path) as file:
        assert keys_in(file.writer, 1) == [1, 2]  # type: ignore[arg-type]  # the first table
    assert format_of(path) == 1
    assert names(path.parent) == ["a.db"]


def test_a_migration_killed_half_way_is_made_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After such a kill the later version migrates from the beginning."""
    run_python(KILLED_HALF_WAY, str(path))
    later_format(monkeypatch, add_notes)

    with open_checked(path) as file:
        assert file.writer.execute("SELECT notes FROM tables").fetchall() == [("none",)]


def test_a_later_file_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that a later version has migrated is refused by this one, and left as it is."""
    with monkeypatch.context() as patch:
        later_format(patch, add_notes)
        with open_checked(path):
            pass
    before = contents(path)

    with pytest.raises(FutureVersionError, match="format 2, this version reads up to 1"):
        opened(path)
    with pytest.raises(FutureVersionError, match="format 2, this version reads up to 1"):
        ForeignFile(str(path))
    assert contents(path) == before


def test_a_reader_does_not_migrate(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read-only open of an older file is refused, says what to do, and changes nothing."""
    before = contents(path)
    later_format(monkeypatch, add_notes)

    with pytest.raises(ReadOnlyError, match="format 1, expected 2: open it for writing once"):
        ForeignFile(str(path))
    assert contents(path) == before


def test_a_half_migrated_schema_is_refused(path: Path) -> None:
    """A file that says format 1 and has a column of another is damaged."""
    connection = sqlite3.connect(path)
    connection.execute("ALTER TABLE tables ADD COLUMN notes TEXT")
    connection.close()

    with pytest.raises(CorruptError, match="schema entry 'tables'"):
        opened(path)
