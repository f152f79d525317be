"""Closing: one file in rollback mode, or a WAL that the next open plays back."""

import logging
from pathlib import Path

import pytest

from centroidb.wal import meta
from centroidb.wal.file import ForeignFile, open_file
from tests.wal.files import (
    contents,
    crash_copy,
    create_table,
    keys_in,
    names,
    open_checked,
    opened,
    put,
)


def test_a_closed_database_is_one_file(tmp_path: Path) -> None:
    """After a close nothing lies beside the file, and its header says rollback mode."""
    path = tmp_path / "a.db"
    with open_checked(path) as file:
        put(file.writer, create_table(file.writer), *range(500))
        assert names(tmp_path) == ["a.db", "a.db-shm", "a.db-wal"]

    assert names(tmp_path) == ["a.db"]
    assert path.read_bytes()[18:20] == b"\1\1"


def test_a_closed_database_says_so(tmp_path: Path) -> None:
    """The next open knows that the last owner closed, and who owns it now."""
    with open_checked(tmp_path / "a.db") as file:
        assert meta.get_owner(file.writer) == meta.Owner.this_process()
    with open_checked(tmp_path / "a.db") as file:
        assert file.recovered.clean


def test_closing_and_opening_changes_no_row(tmp_path: Path) -> None:
    """A table looks the same after a hundred keys, a close and an open."""
    with open_checked(tmp_path / "a.db") as file:
        table = create_table(file.writer)
        put(file.writer, table, *range(100))
    with open_checked(tmp_path / "a.db") as file:
        assert keys_in(file.writer, table) == list(range(100))


def test_a_foreign_reader_in_the_way(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Beside somebody's read transaction the WAL stays, a warning says so, and nothing is lost."""
    path = tmp_path / "a.db"
    file = opened(path)
    table = create_table(file.writer)
    foreign = ForeignFile(str(path))
    reader = foreign.open_reader()
    reader.execute("BEGIN")
    assert keys_in(reader, table) == []
    put(file.writer, table, 1, 2)

    with caplog.at_level(logging.WARNING):
        assert not file.close()

    assert "closed, but not as one file" in caplog.text
    assert keys_in(reader, table) == []
    reader.close()
    foreign.close()
    with open_checked(path) as file:
        assert file.recovered.clean
        assert keys_in(file.writer, table) == [1, 2]
    assert names(tmp_path) == ["a.db"]


def test_a_deleted_file_is_not_closed_in_silence(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Closing a database whose file was deleted warns: what was written is gone."""
    file = opened(tmp_path / "a.db")
    (tmp_path / "a.db").unlink()

    with caplog.at_level(logging.WARNING):
        assert not file.close()

    assert "moved or deleted" in caplog.text


def test_abandoning_is_like_a_crash(tmp_path: Path) -> None:
    """An abandoned file keeps its WAL as it was, byte for byte, and can be opened at once."""
    path = tmp_path / "a.db"
    file = opened(path)
    table = create_table(file.writer)
    put(file.writer, table, 1)
    as_a_crash_leaves_it = contents(crash_copy(path, tmp_path / "b.db"))
    file.abandon()

    assert list(contents(path).values()) == list(as_a_crash_leaves_it.values())
    with open_checked(path) as file:
        assert not file.recovered.clean
        assert keys_in(file.writer, table) == [1]


def test_the_folder_of_a_memory_database_goes(tmp_path: Path) -> None:
    """`:memory:` is an ordinary file in a private folder, which is gone after the close."""
    file = opened(":memory:")
    folder = Path(file.path).parent
    table = create_table(file.writer)
    put(file.writer, table, 1)
    assert keys_in(file.open_reader(), table) == [1]
    assert folder.stat().st_mode & 0o077 == 0

    file.close()

    assert not folder.exists()


def test_two_memory_databases_share_nothing() -> None:
    """Each `:memory:` is a database of its own."""
    first, second = opened(":memory:"), opened(":memory:")
    create_table(first.writer, "only")
    create_table(second.writer, "other")
    assert first.path != second.path
    first.close()
    second.close()


def test_a_memory_database_that_fails_to_open_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When opening `:memory:` fails, its folder goes too."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def fail(_: object) -> None:
        raise ValueError("from above")

    with pytest.raises(ValueError, match="from above"):
        open_file(":memory:", create_missing=True, durability="full", recover=fail)
    assert names(tmp_path) == []
