"""A trace: what a process did to the files of one folder, in order."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_HEADER = struct.Struct("<c3xiqq")


@dataclass(frozen=True)
class Operation:
    """One operation; the letters are explained in `native/files.c`."""

    kind: str
    file: int
    offset: int
    data: bytes


def read(path: Path) -> list[Operation]:
    """All of a trace; the process may have been killed within its last record."""
    return list(_parsed(path.read_bytes()))


def _parsed(raw: bytes) -> Iterator[Operation]:
    at = 0
    while at + _HEADER.size <= len(raw):
        kind, file, offset, length = _HEADER.unpack_from(raw, at)
        at += _HEADER.size
        if at + length > len(raw):
            return
        yield Operation(kind.decode(), file, offset, raw[at : at + length])
        at += length
