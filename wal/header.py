"""The first 100 bytes of the file, looked at before SQLite sees it.

A file that is foreign, cut short or from the future is refused here, so it
stays as it is, byte for byte: even opening it for reading would let SQLite
play back a journal that lies beside it.

The bytes are read through the descriptor that holds the owner lock. It is
closed after the last connection: closing any descriptor of the file drops the
locks SQLite holds on it (see `owner`).
"""

import os
import struct
from dataclasses import dataclass
from pathlib import Path

from . import schema
from .errors import (
    CorruptError,
    FutureVersionError,
    NotADatabaseError,
    StorageError,
    translated,
)
from .torn import MAGIC, first_page

HEADER_BYTES = 100
_SQLITE_FORMAT_MAX = 2  # 1 is a rollback journal, 2 is WAL
_SCHEMA_FORMAT_MAX = 4
_UTF_8 = 1


@dataclass(frozen=True)
class Header:
    """What the header says. Sizes in bytes."""

    page_size: int
    write_version: int
    read_version: int
    page_count: int
    schema_format: int
    encoding: int
    user_version: int
    application_id: int

    @classmethod
    def parse(cls, raw: bytes, path: str) -> "Header":
        """Read the header of the file at `path`; NotADatabaseError if it is none."""
        if len(raw) < HEADER_BYTES or raw[:16] != MAGIC:
            raise NotADatabaseError(f"{path}: not a CentroiDB database (it is no SQLite file)")
        page_size, write_version, read_version = struct.unpack_from(">HBB", raw, 16)
        (page_count,) = struct.unpack_from(">I", raw, 28)
        schema_format, _, _, encoding, user_version = struct.unpack_from(">5I", raw, 44)
        (application_id,) = struct.unpack_from(">I", raw, 68)
        return cls(
            page_size=65_536 if page_size == 1 else page_size,
            write_version=write_version,
            read_version=read_version,
            page_count=page_count,
            schema_format=schema_format,
            encoding=encoding,
            user_version=user_version,
            application_id=application_id,
        )

    def verify(self, path: str) -> None:
        """Raise the typed error for a file that this version must not touch."""
        if self.application_id != schema.APPLICATION_ID:
            raise NotADatabaseError(
                f"{path}: a SQLite file of another program (application_id "
                f"{self.application_id:#x}, expected {schema.APPLICATION_ID:#x})"
            )
        newest = max(self.write_version, self.read_version)
        if newest > _SQLITE_FORMAT_MAX or self.schema_format > _SCHEMA_FORMAT_MAX:
            raise FutureVersionError(f"{path}: needs a newer SQLite (file format {newest})")
        if self.user_version > schema.FORMAT:
            raise FutureVersionError(
                f"{path}: format {self.user_version}, this version reads up to {schema.FORMAT}"
            )
        if self.page_size < 512 or self.page_size & (self.page_size - 1):
            raise NotADatabaseError(f"{path}: a page size of {self.page_size} bytes is impossible")
        if self.encoding != _UTF_8:
            raise CorruptError(f"{path}: text encoding {self.encoding}, expected {_UTF_8} (UTF-8)")


def read_header(descriptor: int, path: str) -> Header:
    """Read and verify the header of an open file; of a torn one, that in the journal beside it."""
    with translated(f"opening {path}"):
        raw = os.pread(descriptor, HEADER_BYTES, 0)
        if not raw.startswith(MAGIC):
            raw = first_page(path) or raw
    header = Header.parse(raw, path)
    header.verify(path)
    return header


def refuse_strange_wal(header: Header, path: str) -> None:
    """Raise StorageError for a WAL beside a file that has none: SQLite would play it back.

    A file in rollback mode (a clean close or a backup leaves it so) never has one: it is of
    another file that lay here, which was killed and then replaced.
    """
    if header.write_version == 1:
        refuse_wal(path, "it is not of this file, which was closed")


def refuse_wal(path: str, why: str) -> None:
    """Raise StorageError when a WAL with something in it lies beside `path`."""
    wal = Path(f"{path}-wal")
    if wal.exists() and wal.stat().st_size:
        raise StorageError(
            f"{path}: a WAL lies beside it ({wal.name}), and {why}; put the file back that "
            "it belongs to, or remove the WAL and what is only in it"
        )


def verify_size(descriptor: int, header: Header, path: str) -> None:
    """Raise CorruptError when a file closed without a WAL does not have the pages it names.

    Only for a file in rollback mode (a clean close leaves it so): SQLite itself
    answers from a file whose end was cut off, and its integrity check agrees.
    With a journal beside it, from a crash, SQLite restores the size first.
    """
    size, expected = os.fstat(descriptor).st_size, header.page_count * header.page_size
    complete = header.write_version == 1 and not Path(f"{path}-journal").exists()
    if complete and size != expected:
        raise CorruptError(f"{path}: {size} bytes, expected {expected}: the file was cut or grown")
