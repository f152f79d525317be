"""A first page that a power loss tore: the journal beside the file says what it was."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from centroidb.wal.errors import NotADatabaseError
from centroidb.wal.header import read_header
from centroidb.wal.types import TableId
from tests.wal.files import crash_copy, create_table, keys_in, open_checked, put

SECTOR = 512


def torn(path: Path) -> None:
    """Garbage in the first sector."""
    with path.open("r+b") as file:
        file.write(b"\xa5" * SECTOR)


def killed(folder: Path, *, spilled: bool) -> Path:
    """What a power loss leaves of a file with two rows: in its WAL, or beside a hot journal."""
    path, copy = folder / "a.db", folder / "copy.db"
    with open_checked(path) as file:
        put(file.writer, create_table(file.writer), 1, 2)
        file.backfill()
        crash_copy(path, copy)
    if spilled:
        Path(f"{copy}-wal").unlink()
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA cache_size = 1")
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("CREATE TABLE spilled AS SELECT zeroblob(9000000)")
            crash_copy(path, copy)
    return copy


@pytest.mark.parametrize("spilled", [False, True], ids=["WAL", "journal"])
def test_a_torn_first_page_is_restored(tmp_path: Path, spilled: bool) -> None:
    """A first sector of garbage beside a WAL or journal that has the page costs nothing."""
    path = killed(tmp_path, spilled=spilled)
    torn(path)

    with open_checked(path) as file:
        assert keys_in(file.writer, TableId(1)) == [1, 2]


@pytest.mark.parametrize("suffix", ["-wal", "-journal"])
@pytest.mark.parametrize("beside", [b"", b"short", bytes(100_000)])
def test_garbage_beside_garbage_is_no_database(tmp_path: Path, suffix: str, beside: bytes) -> None:
    """What lies beside a file that is no database does not make it one."""
    path = tmp_path / "a.db"
    path.write_bytes(b"\xa5" * 4_096)
    Path(f"{path}{suffix}").write_bytes(beside)

    with path.open("rb") as file, pytest.raises(NotADatabaseError):
        read_header(file.fileno(), str(path))
