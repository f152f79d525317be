"""What a disk may hold after a power loss.

    write A   write B   sync   write C   write D        power loss
    `--- durable ---------'    `--- pending ---'        each pending one: lost, whole or torn

Every file has a durable plane, the bytes at its last sync, and pending changes.  Names that were
made, removed or moved since the last sync of the folder are pending too; of them a prefix
survives.  A `Fate` says what becomes of the pending ones.

Assumed of the medium: a sync that returned is kept, and no byte outside a write changes.
Not modelled: rot, misdirected writes.
"""

import random
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from .trace import Operation

SECTOR = 512

Fate = Literal[
    "all kept", "none kept", "last kept", "first lost", "some kept", "cut short", "torn", "garbage"
]
"""all kept: as after a kill. cut short: a prefix of each write. torn: some sectors of each.
garbage: torn, and the lost sectors of a write hold anything. With `none kept` a file that has
grown may have its new size, with zeros."""
FATES: tuple[Fate, ...] = get_args(Fate)

Image = dict[str, bytes]
"""The files of a folder by name."""


def read_image(folder: Path) -> Image:
    """The files of a folder, but SQLite's shared memory, which recovery makes anew."""
    paths = (path for path in sorted(folder.iterdir()) if not path.name.endswith("-shm"))
    return {path.name: path.read_bytes() for path in paths}


def write_image(image: Image, folder: Path) -> None:
    """A folder with these files and no others."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, content in image.items():
        (folder / name).write_bytes(content)


@dataclass(frozen=True)
class Medium:
    """How the disk keeps its promises; other than by default only to see that it is noticed."""

    lies: bool = False
    """No sync does anything."""
    ignored: frozenset[int] = frozenset()
    """The syncs that do nothing, by number."""


@dataclass
class File:
    """One file: the bytes that are safe, and the changes since (offset and data; None: a cut)."""

    durable: bytes = b""
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)

    def sync(self) -> None:
        """All pending changes become durable."""
        if self.pending:
            self.durable = bytes(applied(self.durable, self.pending))
            self.pending = []


def applied(before: bytes, changes: Iterable[tuple[int, bytes | None]]) -> bytearray:
    """The bytes after these changes."""
    content = bytearray(before)
    for offset, data in changes:
        end = offset + (len(data) if data is not None else 0)
        if len(content) < end:
            content.extend(bytes(end - len(content)))
        if data is None:
            del content[offset:]
        else:
            content[offset:end] = data
    return content


class Disk:
    """The files of a folder as a trace changes them."""

    def __init__(self, image: Image, medium: Medium | None = None) -> None:
        self.medium = medium or Medium()
        self.syncs = 0
        self._files: dict[int, File] = {}
        self._durable_names = {name: File(content) for name, content in image.items()}
        self._pending_names: list[Operation] = []

    def apply(self, operation: Operation) -> None:
        """One more operation."""
        kind, number = operation.kind, operation.file
        if kind == "o":  # it was there at the start
            self._files[number] = self._names(len(self._pending_names))[operation.data.decode()]
        elif kind == "c":
            self._files[number] = File()
            self._pending_names.append(operation)
        elif kind in "ur":
            self._pending_names.append(operation)
        elif kind == "d":
            if self._kept():
                self._durable_names = self._names(len(self._pending_names))
                self._pending_names = []
        elif kind == "s":
            if self._kept():
                self._files[number].sync()
        elif kind in "wt":
            data = operation.data if kind == "w" else None
            self._files[number].pending.append((operation.offset, data))

    def waits(self, sync: Operation) -> bool:
        """Whether this sync has something to make durable."""
        if sync.kind == "d":
            return bool(self._pending_names)
        return bool(self._files[sync.file].pending)

    def _kept(self) -> bool:
        """Whether this sync does something."""
        self.syncs += 1
        return not self.medium.lies and self.syncs - 1 not in self.medium.ignored

    def _names(self, survivors: int) -> dict[str, File]:
        names = dict(self._durable_names)
        for operation in self._pending_names[:survivors]:
            name, _, new_name = operation.data.decode().partition("\0")
            if operation.kind == "c":
                names[name] = self._files[operation.file]
            elif operation.kind == "u":
                names.pop(name, None)
            elif name in names:
                names[new_name] = names.pop(name)
        return names

    def image(self, fate: Fate, chance: random.Random) -> Image:
        """The folder after a power loss now."""
        waiting = len(self._pending_names)
        survivors = {"all kept": waiting, "none kept": 0}.get(fate, chance.randint(0, waiting))
        image = {}
        for name, file in self._names(survivors).items():
            left = bytes(applied(file.durable, surviving(file.pending, fate, chance)))
            grows = fate == "none kept" and chance.random() < 0.5
            image[name] = grown(left, file) if grows else left
        return image


def grown(content: bytes, file: File) -> bytes:
    """The size of the pending writes without their data."""
    ends = [offset + len(data) for offset, data in file.pending if data is not None]
    return content.ljust(max(ends, default=0), b"\0")


def surviving(
    pending: list[tuple[int, bytes | None]], fate: Fate, chance: random.Random
) -> Iterator[tuple[int, bytes | None]]:
    """What is left of the pending changes of one file."""
    if fate == "all kept":
        yield from pending
    elif fate == "last kept":
        yield from pending[-1:]
    elif fate == "first lost":
        yield from pending[1:]
    elif fate == "some kept":
        yield from (change for change in pending if chance.random() < 0.5)
    elif fate != "none kept":
        for offset, data in pending:
            if data is not None:
                yield from pieces(offset, data, fate, chance)
            elif chance.random() < 0.5:
                yield offset, data


def pieces(
    offset: int, data: bytes, fate: Fate, chance: random.Random
) -> Iterator[tuple[int, bytes]]:
    """What is left of one write."""
    if fate == "cut short":
        yield offset, data[: chance.randint(0, len(data))]
        return
    start = 0
    while start < len(data):
        end = min(len(data), (offset + start) // SECTOR * SECTOR + SECTOR - offset)
        if chance.random() < 0.5:
            yield offset + start, data[start:end]
        elif fate == "garbage" and chance.random() < 0.5:
            yield offset + start, chance.randbytes(end - start)
        start = end
