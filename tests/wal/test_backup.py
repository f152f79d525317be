"""Backups: a whole copy of one committed state, made beside everything else."""

import sqlite3
from pathlib import Path

import pytest

from centroidb.wal import file as wal_file
from centroidb.wal.errors import CentroiDBError, InputError
from centroidb.wal.types import TableId
from tests.wal.files import (
    contents,
    crash_copy,
    create_table,
    delete,
    keys_in,
    names,
    open_checked,
    put,
)

TABLE = TableId(1)


def test_a_backup_is_a_database(tmp_path: Path) -> None:
    """The copy opens, passes every check, has the same rows, and goes on with LSNs and vids."""
    with open_checked(tmp_path / "a.db") as file:
        create_table(file.writer)
        put(file.writer, TABLE, 1, 2, 3)
        delete(file.writer, TABLE, 2)
        wal_file.backup(file.path, str(tmp_path / "b.db"))
        put(file.writer, TABLE, 9)

    with open_checked(tmp_path / "b.db") as file:
        assert keys_in(file.writer, TABLE) == [1, 3]
        result = put(file.writer, TABLE, 4)
        assert result.progress.heads.lsn == 4
        assert result.progress.born[0].first_vid == 4
    assert names(tmp_path) == ["a.db", "b.db"]


def test_a_backup_is_one_state(tmp_path: Path) -> None:
    """A transaction that is open meanwhile is not in the copy, and is not disturbed."""
    with open_checked(tmp_path / "a.db") as file:
        create_table(file.writer)
        put(file.writer, TABLE, 1)
        file.writer.execute("BEGIN IMMEDIATE")
        file.writer.execute("DELETE FROM live_1")
        wal_file.backup(file.path, str(tmp_path / "b.db"))
        file.writer.execute("ROLLBACK")

    with open_checked(tmp_path / "b.db") as file:
        assert keys_in(file.writer, TABLE) == [1]


def test_a_backup_keeps_what_freezes(tmp_path: Path) -> None:
    """Page size, auto_vacuum, format and application are those of the original."""
    with open_checked(tmp_path / "a.db") as file:
        wal_file.backup(file.path, str(tmp_path / "b.db"))

    def frozen(path: Path) -> list[object]:
        connection = sqlite3.connect(path)
        names = ("page_size", "auto_vacuum", "user_version", "application_id", "journal_mode")
        values = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names]
        connection.close()
        return values

    assert frozen(tmp_path / "a.db") == frozen(tmp_path / "b.db")


@pytest.mark.parametrize("there", [b"", b"something"])
def test_a_backup_replaces_nothing(tmp_path: Path, there: bytes) -> None:
    """A target that exists is refused and stays as it is."""
    target = tmp_path / "b.db"
    target.write_bytes(there)
    refused = pytest.raises(InputError, match="exists already")
    with open_checked(tmp_path / "a.db") as file, refused:
        wal_file.backup(file.path, str(target))

    assert target.read_bytes() == there


def test_a_backup_into_nowhere_leaves_nothing(tmp_path: Path) -> None:
    """A target whose folder is missing is an error, and the database goes on."""
    with open_checked(tmp_path / "a.db") as file:
        with pytest.raises(CentroiDBError, match="backup"):
            wal_file.backup(file.path, str(tmp_path / "nowhere" / "b.db"))
        create_table(file.writer)
    assert names(tmp_path) == ["a.db"]


def test_a_target_that_appears_meanwhile_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that somebody puts at the target while the copy is written is not replaced."""
    target = tmp_path / "b.db"
    monkeypatch.setattr(wal_file, "_sync_file", lambda _: target.write_text("theirs"))
    with open_checked(tmp_path / "a.db") as file, pytest.raises(CentroiDBError, match="backup"):
        wal_file.backup(file.path, str(target))

    assert target.read_text() == "theirs"
    assert names(tmp_path) == ["a.db", "b.db"]


def test_backing_up_what_a_crash_left_changes_it_not(tmp_path: Path) -> None:
    """A backup of a file whose owner died has its last commits, and leaves file and WAL alone."""
    with open_checked(tmp_path / "a.db") as file:
        create_table(file.writer)
        put(file.writer, TABLE, 1)
        crash_copy(file.path, tmp_path / "c.db")
    before = contents(tmp_path / "c.db")

    wal_file.backup(str(tmp_path / "c.db"), str(tmp_path / "b.db"))

    assert contents(tmp_path / "c.db") == before
    with open_checked(tmp_path / "b.db") as file:
        assert keys_in(file.writer, TABLE) == [1]
