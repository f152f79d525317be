"""Calibrations: what was learnt of a generation about how many partitions a query needs.

Derived data: one that is missing or damaged is made again.
"""

import logging
import sqlite3

from .checksum import blobs_crc
from .types import GenerationId

log = logging.getLogger(__name__)


def put(connection: sqlite3.Connection, generation: GenerationId, data: bytes) -> None:
    """Store the calibration of a generation, or store it anew; nothing if it is gone."""
    connection.execute(
        "INSERT OR REPLACE INTO calibrations (generation, crc, data) "
        "SELECT id, ?, ? FROM generations WHERE id = ?",
        (blobs_crc(data), data, generation),
    )


def read(connection: sqlite3.Connection, generation: GenerationId) -> bytes | None:
    """What was stored; None, with a warning where it is damaged, when there is nothing."""
    found = connection.execute(
        "SELECT crc, data FROM calibrations WHERE generation = ?", (generation,)
    ).fetchone()
    if found is None:
        return None
    crc, data = found
    if isinstance(data, bytes) and blobs_crc(data) == crc:
        return data
    log.warning("generation %s: its calibration is damaged and left out", generation)
    return None
