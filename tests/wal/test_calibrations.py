"""Calibrations in the file."""

import logging

import pytest

from centroidb.wal import calibrations
from centroidb.wal.types import GenerationId

from .files import memory_file

ONE, OTHER = GenerationId(1), GenerationId(2)

GENERATION = (
    "INSERT INTO generations VALUES "
    "(?, 1, 'active', 0, 0, 0, 0, 4, 0, 'flat', 'l2', 'exact', 9, 0, 0, 0, 0, 0, x'00', '{}')"
)


def test_the_last_calibration_of_a_generation_is_kept() -> None:
    """It replaces the one before; another generation's is another; one that is gone has none."""
    connection = memory_file()
    connection.execute(GENERATION, (ONE,))

    for data in (b"first", b"second"):
        calibrations.put(connection, ONE, data)
    calibrations.put(connection, OTHER, b"nobody's")

    assert calibrations.read(connection, ONE) == b"second"
    assert calibrations.read(connection, OTHER) is None
    connection.close()


def test_a_damaged_calibration_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    """Damage here costs the calibration, and nothing else."""
    connection = memory_file()
    connection.execute(GENERATION, (ONE,))
    calibrations.put(connection, ONE, b"as written")
    connection.execute("UPDATE calibrations SET data = x'00'")

    with caplog.at_level(logging.WARNING):
        assert calibrations.read(connection, ONE) is None
    assert "generation 1: its calibration is damaged" in caplog.text
    connection.close()
