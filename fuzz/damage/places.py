"""Where in a file which content lies, so that damage can be aimed at it.

b-trees     each table and index of the schema with its pages, found from its root
values      the BLOBs and texts of a column, found by their bytes: they are small and lie whole
"""

import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing

from ..disk import Image
from .victims import FILE

PAGE = 16_384
HEADER_BYTES = 100
WAL_HEADER_BYTES = 32
FRAME_BYTES = 24
"""What stands before the page of a frame of the WAL."""

Span = tuple[int, int]
"""The first byte and the one after the last."""

_VALUES = {
    "vectors": "SELECT vector FROM rows_1 UNION ALL SELECT vector FROM rows_2",
    "payloads": "SELECT payload FROM rows_1 WHERE length(payload) > 8",
    "codes": "SELECT codes FROM partitions",
    "vids": "SELECT vids FROM partitions",
    "row crcs": "SELECT row_crcs FROM partitions",
    "bounds": "SELECT bounds FROM partitions WHERE length(bounds)",
    "centroids": "SELECT vectors FROM centroids",
    "ended": "SELECT ended FROM wal WHERE length(ended)",
    "sums": "SELECT sum FROM tables",
    "seals": "SELECT segment_sum FROM generations",
    "parameters": "SELECT parameters FROM indexes UNION ALL SELECT parameters FROM generations",
    "captured": "SELECT vector FROM query_samples",
}
CHECKED = ("vectors", "payloads", "codes", "ended")
"""What has a checksum that is looked at whenever it is read: damage in it is never an answer."""


def places(files: Image) -> dict[str, list[Span]]:
    """Name of a content -> where it lies in the database file."""
    raw = files[FILE]
    found: dict[str, list[Span]] = {"header": [(0, HEADER_BYTES)], "anywhere": [(0, len(raw))]}
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.deserialize(in_rollback_mode(raw))
        roots = "SELECT name, rootpage FROM sqlite_schema WHERE rootpage"
        for name, root in connection.execute(roots):
            found[f"tree {name}"] = [_page(number) for number in _tree(raw, root)]
        for name, sql in _VALUES.items():
            spans = [_where(raw, value) for (value,) in connection.execute(sql)]
            found[name] = [span for span in spans if span is not None]
    return {name: spans for name, spans in found.items() if spans}


def in_rollback_mode(raw: bytes) -> bytes:
    """The same file as if no WAL belonged to it: one in memory has none."""
    return raw[:18] + b"\1\1" + raw[20:]


def _page(number: int) -> Span:
    return (number - 1) * PAGE, number * PAGE


def _where(raw: bytes, value: bytes | str) -> Span | None:
    content = value.encode() if isinstance(value, str) else value
    start = raw.find(content)
    return None if start < 0 else (start, start + len(content))


def _tree(raw: bytes, root: int) -> Iterator[int]:
    """The pages of a b-tree: interior pages are of kind 2 (index) and 5 (table)."""
    yield root
    start = (root - 1) * PAGE
    head = start + (HEADER_BYTES if root == 1 else 0)
    if raw[head] not in (2, 5):
        return
    (cells,) = struct.unpack_from(">H", raw, head + 3)
    offsets = struct.unpack_from(f">{cells}H", raw, head + 12)
    for at in (*(start + offset for offset in offsets), head + 8):
        yield from _tree(raw, struct.unpack_from(">I", raw, at)[0])


def commits(wal: bytes) -> list[int]:
    """Where SQLite's WAL may be cut: at its beginning, and after each frame that ends a commit.

    A frame says in its second word how large the file is after its commit, else 0; frames of an
    earlier life of the WAL have other salts.  (SQLite, "The WAL File Format".)
    """
    found = [0]
    frame_bytes = FRAME_BYTES + PAGE
    for start in range(WAL_HEADER_BYTES, len(wal) - frame_bytes + 1, frame_bytes):
        pages, salts = struct.unpack_from(">4xI8s", wal, start)
        if salts == wal[16:24] and pages:
            found.append(start + frame_bytes)
    return found
