"""The first page, out of the journal beside a file whose own was torn.

    file     [ page 1: torn ] [ page 2 ] ...       a power loss while page 1 was written
    -wal     header | frame: page 7 | frame: page 1 | ...
    -journal header | page 1 | page 4 | ...

SQLite puts it right when it recovers; the header has to be known before (see `header`).
What is wanted of it, whose file this is and of which format, is the same in all copies.
Formats: https://www.sqlite.org/fileformat2.html, sections 3 and 4.
"""

import struct
from collections.abc import Iterator
from pathlib import Path

MAGIC = b"SQLite format 3\0"
_WAL_MAGIC = (0x377F0682, 0x377F0683)
_WAL_HEADER_BYTES = 32
_FRAME_HEADER_BYTES = 24
_JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")
_PAGE_BYTES_MAX = 65_536
_FIRST = 1


def first_page(path: str) -> bytes | None:
    """A whole first page of the file at `path` from what lies beside it; None if there is none."""
    for suffix, pages in (("-wal", _wal_pages), ("-journal", _journal_pages)):
        beside = Path(f"{path}{suffix}")
        if beside.exists():
            for page in pages(beside):
                if page.startswith(MAGIC):
                    return page
    return None


def _wal_pages(wal: Path) -> Iterator[bytes]:
    """Copies of the first page in a WAL."""
    with wal.open("rb") as file:
        header = file.read(_WAL_HEADER_BYTES)
        if len(header) < _WAL_HEADER_BYTES:
            return
        magic, _, page_bytes = struct.unpack_from(">3I", header)
        if magic not in _WAL_MAGIC or not 0 < page_bytes <= _PAGE_BYTES_MAX:
            return
        while len(frame := file.read(_FRAME_HEADER_BYTES + page_bytes)) > _FRAME_HEADER_BYTES:
            (number,) = struct.unpack_from(">I", frame)
            if number == _FIRST and frame[8:16] == header[16:24]:  # of this WAL, by its salt
                yield frame[_FRAME_HEADER_BYTES:]


def _journal_pages(journal: Path) -> Iterator[bytes]:
    """Copies of the first page in a rollback journal."""
    with journal.open("rb") as file:
        header = file.read(28)
        if len(header) < 28 or not header.startswith(_JOURNAL_MAGIC):
            return
        sector_bytes, page_bytes = struct.unpack_from(">2I", header, 20)
        if not 0 < page_bytes <= _PAGE_BYTES_MAX:
            return
        file.seek(sector_bytes)
        while len(record := file.read(4 + page_bytes + 4)) == 4 + page_bytes + 4:
            (number,) = struct.unpack_from(">I", record)
            if number == _FIRST:
                yield record[4:-4]
