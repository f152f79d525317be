"""The first 100 bytes: what is accepted, and what is refused before SQLite sees it."""

import errno
import os
import struct
from pathlib import Path

import pytest

from centroidb.wal.errors import (
    CentroiDBError,
    CorruptError,
    FutureVersionError,
    NotADatabaseError,
    StorageError,
)
from centroidb.wal.file import create
from centroidb.wal.header import HEADER_BYTES, Header, read_header, verify_size
from centroidb.wal.schema import APPLICATION_ID, FORMAT, PAGE_SIZE_BYTES


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A new database, closed."""
    made = tmp_path / "a.db"
    create(str(made))
    return made


def test_a_new_file_says_what_it_is(path: Path) -> None:
    """A new file's header names the application, the format, the page size and UTF-8."""
    header = Header.parse(path.read_bytes()[:HEADER_BYTES], "a.db")

    header.verify("a.db")
    assert (header.application_id, header.user_version) == (APPLICATION_ID, FORMAT)
    assert (header.page_size, header.encoding) == (PAGE_SIZE_BYTES, 1)
    assert header.page_size * header.page_count == path.stat().st_size


def test_the_largest_page_size_is_stored_as_one(path: Path) -> None:
    """A stored page size of 1 means 65,536 bytes."""
    raw = bytearray(path.read_bytes()[:HEADER_BYTES])
    struct.pack_into(">H", raw, 16, 1)

    assert Header.parse(bytes(raw), "a.db").page_size == 65_536


REFUSED: list[tuple[str, int, bytes, type[CentroiDBError], str]] = [
    ("magic", 0, b"SQLite format 4\0", NotADatabaseError, "no SQLite file"),
    ("page size 3", 16, struct.pack(">H", 3), NotADatabaseError, "page size of 3 bytes"),
    ("page size 256", 16, struct.pack(">H", 256), NotADatabaseError, "page size of 256"),
    ("write version 3", 18, b"\x03", FutureVersionError, "newer SQLite"),
    ("read version 3", 19, b"\x03", FutureVersionError, "newer SQLite"),
    ("schema format 9", 44, struct.pack(">I", 9), FutureVersionError, "newer SQLite"),
    ("UTF-16", 56, struct.pack(">I", 2), CorruptError, "encoding 2, expected 1"),
    ("format 999", 60, struct.pack(">I", 999), FutureVersionError, "format 999"),
    ("other program", 68, struct.pack(">I", 0x1234), NotADatabaseError, "0x1234"),
    ("no program", 68, bytes(4), NotADatabaseError, "another program"),
]


@pytest.mark.parametrize(
    ("at", "found", "error", "words"),
    [case[1:] for case in REFUSED],
    ids=[case[0] for case in REFUSED],
)
def test_a_wrong_field_is_refused(
    path: Path, at: int, found: bytes, error: type[CentroiDBError], words: str
) -> None:
    """Each field that this version can not live with raises its typed error, naming the file."""
    raw = bytearray(path.read_bytes()[:HEADER_BYTES])
    raw[at : at + len(found)] = found

    with pytest.raises(error, match=words) as caught:
        Header.parse(bytes(raw), "a.db").verify("a.db")
    assert "a.db" in str(caught.value)


@pytest.mark.parametrize("size", [0, 15, 16, 50, 99])
def test_a_short_header_is_no_database(path: Path, size: int) -> None:
    """Fewer than 100 bytes are no database."""
    with pytest.raises(NotADatabaseError, match="no SQLite file"):
        Header.parse(path.read_bytes()[:size], "a.db")


def verified_size(path: Path) -> None:
    """Read the header of a file nobody has open, and verify its size."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        verify_size(descriptor, read_header(descriptor, str(path)), str(path))
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("change", [-100, 5_000, -PAGE_SIZE_BYTES, PAGE_SIZE_BYTES])
def test_a_cut_or_grown_file_is_found(path: Path, change: int) -> None:
    """A file closed as one file that is not as long as its header says is damaged."""
    verified_size(path)
    os.truncate(path, path.stat().st_size + change)

    with pytest.raises(CorruptError, match="cut or grown"):
        verified_size(path)


def test_a_file_with_a_journal_may_have_another_size(path: Path) -> None:
    """Beside a rollback journal the size is SQLite's to restore, so it is not judged."""
    os.truncate(path, path.stat().st_size + 5_000)
    Path(f"{path}-journal").write_bytes(b"not empty")

    verified_size(path)


def test_a_header_that_can_not_be_read_is_a_storage_error(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fails on the first bytes raises the error that says so, with the file's name."""

    def fails(*_: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    descriptor = os.open(path, os.O_RDONLY)
    monkeypatch.setattr(os, "pread", fails)
    try:
        with pytest.raises(StorageError, match=r"opening .*a\.db.*Input/output error"):
            read_header(descriptor, str(path))
    finally:
        os.close(descriptor)
