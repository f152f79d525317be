"""What a disk, or a program that knows nothing of the file, may do to it; drawn from a seed."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from ..disk import Image
from .places import CHECKED, HEADER_BYTES, PAGE, Span, places
from .victims import FILE, Victim

SECTOR = 512
WAL = f"{FILE}-wal"

Harm = Callable[[random.Random, bytearray, Span, bytes], None]
"""Damages a file within a span; the last is the file as it once was."""


@dataclass(frozen=True)
class Damaged:
    """A damaged file, and what is known about the damage."""

    files: Image
    how: str
    checked: bool
    """Whether only content with a checksum was hit."""
    in_wal: bool


def flip(chance: random.Random, raw: bytearray, span: Span, _: bytes) -> None:
    """One bit."""
    raw[chance.randrange(*span)] ^= 1 << chance.randrange(8)


def flips(chance: random.Random, raw: bytearray, span: Span, before: bytes) -> None:
    """A few bits."""
    for _ in range(chance.randint(2, 6)):
        flip(chance, raw, span, before)


def overwrite(chance: random.Random, raw: bytearray, span: Span, _: bytes) -> None:
    """Some bytes become others, a string or a number for instance."""
    start = chance.randrange(*span)
    end = min(span[1], start + chance.choice((1, 2, 4, 8)))
    word = chance.choice((b"\0", b"\xff", b"\x7f", b"\x80", chance.randbytes(1)))
    raw[start:end] = word * (end - start)


def garbage(chance: random.Random, raw: bytearray, span: Span, _: bytes) -> None:
    """A sector of noise."""
    _replace(raw, chance.randrange(*span) // SECTOR * SECTOR, chance.randbytes(SECTOR))


def zero_sector(chance: random.Random, raw: bytearray, span: Span, _: bytes) -> None:
    """A sector that was never written."""
    _replace(raw, chance.randrange(*span) // SECTOR * SECTOR, bytes(SECTOR))


def zero_page(chance: random.Random, raw: bytearray, span: Span, _: bytes) -> None:
    """A page that was never written."""
    _replace(raw, chance.randrange(*span) // PAGE * PAGE, bytes(PAGE))


def older_page(chance: random.Random, raw: bytearray, span: Span, before: bytes) -> None:
    """A page as it was before: the write of the new one was lost."""
    at = chance.randrange(*span) // PAGE * PAGE
    _replace(raw, at, before[at : at + PAGE])


def swap_pages(chance: random.Random, raw: bytearray, span: Span, _: bytes) -> None:
    """Two pages lie where the other one should."""
    one = chance.randrange(*span) // PAGE * PAGE
    other = chance.randrange(len(raw)) // PAGE * PAGE
    raw[one : one + PAGE], raw[other : other + PAGE] = (
        raw[other : other + PAGE],
        raw[one : one + PAGE],
    )


def cut(chance: random.Random, raw: bytearray, _: Span, __: bytes) -> None:
    """The end is missing."""
    del raw[chance.choice((len(raw) - chance.randint(1, PAGE), chance.randrange(len(raw)))) :]


def extend(chance: random.Random, raw: bytearray, _: Span, __: bytes) -> None:
    """More than there was."""
    raw += chance.choice((bytes, chance.randbytes))(chance.choice((1, SECTOR, PAGE)))


WITHIN: tuple[Harm, ...] = (flip, flips, overwrite)
"""They stay within the span."""
AROUND: tuple[Harm, ...] = (garbage, zero_sector, zero_page, older_page, swap_pages, cut, extend)


def _replace(raw: bytearray, start: int, content: bytes) -> None:
    raw[start : start + len(content)] = content[: len(raw) - start]


class Harms:
    """Draws damage to one victim."""

    def __init__(self, victim: Victim) -> None:
        self._victim = victim
        self._places = places(victim.now)

    def draw(self, chance: random.Random) -> Damaged:
        """One damaged file, different from the whole one."""
        while True:
            damaged = self._drawn(chance)
            if damaged.files != self._victim.now:
                return damaged

    def _drawn(self, chance: random.Random) -> Damaged:
        files = dict(self._victim.now)
        in_wal = WAL in files and chance.randrange(8) == 0
        name = WAL if in_wal else FILE
        aim = "anywhere" if in_wal else chance.choice(list(self._places))
        raw = bytearray(files[name])
        spans = [(0, len(raw))] if in_wal else self._places[aim]
        harm = chance.choice(WITHIN if chance.random() < 0.7 else AROUND)
        span = chance.choice(spans)
        if aim == "anywhere" and harm in WITHIN and not in_wal:
            span = (HEADER_BYTES, span[1])
        harm(chance, raw, span, self._victim.before[FILE])
        files[name] = bytes(raw)
        how = f"{harm.__name__} at {aim if not in_wal else 'the WAL'}"
        return Damaged(files, how, aim in CHECKED and harm in WITHIN, in_wal)
