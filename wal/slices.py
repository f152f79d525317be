"""What an unfinished build has got done, kept so that it can go on from there.

    step      number                      data
    ------    -------------------------   -----------------------------------
    any       what the engine counts by   bytes that this layer does not read

A slice is written in one transaction and never changed but for being replaced as
a whole; its crc covers its place too. All go when the build ends, either way.
"""

import sqlite3

from .checksum import blobs_crc
from .errors import CorruptError
from .types import GenerationId

SLICES_A_DELETE = 16


def put(
    connection: sqlite3.Connection, generation: GenerationId, step: str, number: int, data: bytes
) -> None:
    """Store a slice, or store it anew."""
    connection.execute(
        "INSERT OR REPLACE INTO slices (generation, step, number, crc, data) VALUES (?,?,?,?,?)",
        (generation, step, number, _crc(step, number, data), data),
    )


def numbers(connection: sqlite3.Connection, generation: GenerationId, step: str) -> list[int]:
    """The numbers of the slices of a step that are there, ascending."""
    rows = connection.execute(
        "SELECT number FROM slices WHERE generation = ? AND step = ? ORDER BY number",
        (generation, step),
    )
    return [number for (number,) in rows]


def read(
    connection: sqlite3.Connection, generation: GenerationId, step: str, number: int
) -> bytes | None:
    """One slice, None when it is not there; CorruptError when its checksum does not hold."""
    row = connection.execute(
        "SELECT crc, data FROM slices WHERE generation = ? AND step = ? AND number = ?",
        (generation, step, number),
    ).fetchone()
    if row is None:
        return None
    crc, data = row
    if not isinstance(data, bytes) or _crc(step, number, data) != crc:
        raise CorruptError(f"generation {generation}, {step} {number}: wrong checksum")
    return data


def delete(
    connection: sqlite3.Connection, generation: GenerationId, step: str, before: int
) -> None:
    """Remove the slices of a step with a number below `before`."""
    connection.execute(
        "DELETE FROM slices WHERE generation = ? AND step = ? AND number < ?",
        (generation, step, before),
    )


def delete_some(connection: sqlite3.Connection, generation: GenerationId) -> bool:
    """Remove a few slices of a generation; True when none is left."""
    removed = connection.execute(
        "DELETE FROM slices WHERE (generation, step, number) IN "
        "(SELECT generation, step, number FROM slices WHERE generation = ? LIMIT ?)",
        (generation, SLICES_A_DELETE),
    ).rowcount
    return removed < SLICES_A_DELETE


def delete_finished(connection: sqlite3.Connection) -> None:
    """Remove the slices of builds that have ended in the middle of `delete_some`."""
    connection.execute(
        "DELETE FROM slices WHERE generation NOT IN "
        "(SELECT id FROM generations WHERE state IN ('building', 'catching_up'))"
    )


def _crc(step: str, number: int, data: bytes) -> int:
    return blobs_crc(step.encode(), number.to_bytes(8, "little"), data)
