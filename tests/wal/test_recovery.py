"""Opening after a crash: what was committed is there, what was not is gone."""

import os
import sqlite3
import subprocess
from pathlib import Path

import numpy as np
import pytest

from centroidb.txn.writes import CommitRequest, Write
from centroidb.wal import log, meta
from centroidb.wal.errors import CorruptError
from centroidb.wal.file import ForeignFile, open_file
from tests.wal.files import (
    committed,
    contents,
    crash_copy,
    create_table,
    delete,
    errors_of,
    keys_in,
    open_checked,
    opened,
    put,
    rows_of,
)


def test_every_commit_survives_the_crash_after_it(tmp_path: Path) -> None:
    """A copy made right after a commit holds that commit and all before it."""
    with open_checked(tmp_path / "a.db") as file:
        table = create_table(file.writer)
        for commit in range(5):
            put(file.writer, table, commit)
            crash_copy(file.path, tmp_path / f"{commit}.db")

    for commit in range(5):
        with open_checked(tmp_path / f"{commit}.db") as file:
            assert not file.recovered.clean
            assert file.recovered.records == commit + 2
            assert keys_in(file.writer, table) == list(range(commit + 1))


def test_what_was_not_committed_is_gone(tmp_path: Path) -> None:
    """A transaction that a crash cut short leaves nothing, however much it had written."""
    with open_checked(tmp_path / "a.db") as file:
        table = create_table(file.writer)
        put(file.writer, table, 1)
        file.writer.execute("PRAGMA cache_size = 5")  # so that it spills into the WAL
        file.writer.execute("BEGIN IMMEDIATE")
        columns = [(vid, vid, 2, 0, 0, b"x" * 9_000) for vid in range(2, 300)]
        file.writer.executemany(
            "INSERT INTO rows_1 (vid, key, lsn, crc, vector_crc, vector) VALUES (?,?,?,?,?,?)",
            columns,
        )
        assert file.sqlite_wal_bytes() > 2_000_000
        crash_copy(file.path, tmp_path / "b.db")
        file.writer.execute("ROLLBACK")

    with open_checked(tmp_path / "b.db") as file:
        assert keys_in(file.writer, table) == [1]
        assert errors_of(file.writer) == []


def test_a_torn_wal_gives_a_prefix_of_the_commits(tmp_path: Path) -> None:
    """Wherever the WAL ends, the file opens with the first k commits, whole, and no others."""
    with open_checked(tmp_path / "a.db") as file:
        table = create_table(file.writer)
        file.checkpoint()
        sizes = [0]
        for commit in range(4):
            put(file.writer, table, commit)
            sizes.append(file.sqlite_wal_bytes())
        crash_copy(file.path, tmp_path / "b.db")

    for cut in sorted({0, *(size + step for size in sizes[1:] for step in (-1, -20_000, 0))}):
        torn = tmp_path / f"torn-{cut}.db"
        crash_copy(tmp_path / "b.db", torn)
        os.truncate(f"{torn}-wal", max(0, cut))
        with open_checked(torn) as file:
            whole = sum(size <= cut for size in sizes[1:])
            assert keys_in(file.writer, table) == list(range(whole))


def test_recovering_twice_changes_nothing(tmp_path: Path) -> None:
    """A crash right after recovery leaves what recovery found: same rows, same log."""
    with open_checked(tmp_path / "a.db") as file:
        table = create_table(file.writer)
        put(file.writer, table, 1, 2)
        delete(file.writer, table, 1)
        crash_copy(file.path, tmp_path / "0.db")

    def everything(connection: sqlite3.Connection) -> list[object]:
        tables = ("tables", "wal", "commits", "rows_1", "live_1", "dead_1")
        return [connection.execute(f"SELECT * FROM {name}").fetchall() for name in tables]

    found = []
    for crash in range(3):
        with open_checked(tmp_path / f"{crash}.db") as file:
            found.append(everything(file.writer))
            crash_copy(file.path, tmp_path / f"{crash + 1}.db")
    assert found[0] == found[1] == found[2]


def test_higher_layers_recover_in_the_same_transaction(tmp_path: Path) -> None:
    """What a higher layer clears away at open is there or not together with the new owner."""
    path = tmp_path / "a.db"
    with open_checked(path):
        pass

    def fail(connection: sqlite3.Connection) -> None:
        meta.put(connection, "half", 1)
        raise ValueError("from above")

    with pytest.raises(ValueError, match="from above"):
        open_file(str(path), create_missing=False, durability="full", recover=fail)

    with open_checked(path) as file:
        assert meta.get(file.writer, "half") is None
        assert file.recovered.clean


def test_a_broken_chain_is_refused_and_left_alone(tmp_path: Path) -> None:
    """A crashed file whose log was tampered with raises CorruptError and keeps all its bytes."""
    with open_checked(tmp_path / "a.db") as file:
        table = create_table(file.writer)
        put(file.writer, table, 1)
        put(file.writer, table, 2)
        file.writer.execute("UPDATE wal SET count = 7 WHERE lsn = 2")
        crash_copy(file.path, tmp_path / "b.db")
        file.writer.execute("UPDATE wal SET count = 1 WHERE lsn = 2")
    before = contents(tmp_path / "b.db")
    assert "b.db-wal" in before

    with pytest.raises(CorruptError, match=r"the record \(2, 0\) breaks the chain"):
        opened(tmp_path / "b.db")
    assert contents(tmp_path / "b.db") == before


def test_reading_a_crashed_file_leaves_it_alone(tmp_path: Path) -> None:
    """A read-only open of what a dead owner left reads the WAL and changes no byte."""
    with open_checked(tmp_path / "a.db") as file:
        table = create_table(file.writer)
        put(file.writer, table, 1)
        crash_copy(file.path, tmp_path / "b.db")
    before = contents(tmp_path / "b.db")

    foreign = ForeignFile(str(tmp_path / "b.db"))
    reader = foreign.open_reader()
    assert keys_in(reader, table) == [1]
    assert log.verify(reader) == []
    reader.close()
    foreign.close()

    assert contents(tmp_path / "b.db") == before


def test_recovery_keeps_the_counters(tmp_path: Path) -> None:
    """After a crash LSNs and vids go on where the last commit left them, without reuse."""
    with open_checked(tmp_path / "a.db") as file:
        table = create_table(file.writer)
        put(file.writer, table, 1, 2, 3)
        delete(file.writer, table, 3)
        crash_copy(file.path, tmp_path / "b.db")

    with open_checked(tmp_path / "b.db") as file:
        result = put(file.writer, table, 4)
        assert result.progress.heads.lsn == 4
        assert [born.first_vid for born in result.progress.born] == [4]


def test_a_group_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    """Cutting the WAL anywhere inside a group of commits takes all of the group away."""
    with open_checked(tmp_path / "a.db") as file:
        table = create_table(file.writer)
        file.checkpoint()
        requests = [CommitRequest([Write(table, rows_of([key]))]) for key in range(5)]
        committed(file.writer, *requests)
        size = file.sqlite_wal_bytes()
        crash_copy(file.path, tmp_path / "b.db")

    for cut in np.linspace(32, size, 6).astype(int).tolist():
        torn = crash_copy(tmp_path / "b.db", tmp_path / f"{cut}.db")
        os.truncate(f"{torn}-wal", cut)
        with open_checked(torn) as file:
            assert keys_in(file.writer, table) == (list(range(5)) if cut == size else [])


def test_a_copy_is_made_without_touching_the_locks(tmp_path: Path) -> None:
    """The tests' own crash copies leave the live database able to commit and close as one file."""
    with open_checked(tmp_path / "a.db") as file:
        table = create_table(file.writer)
        crash_copy(file.path, tmp_path / "b.db")
        put(file.writer, table, 1)
    listed = subprocess.run(["ls", tmp_path], capture_output=True, text=True, check=True)

    assert listed.stdout.split() == ["a.db", "b.db", "b.db-wal"]
