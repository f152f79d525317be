"""The log: a chain in which every kind of tampering shows, and its truncation."""

import sqlite3
from collections.abc import Iterator

import numpy as np
import pytest

from centroidb.txn.writes import CommitRequest, Write
from centroidb.wal import log, meta
from centroidb.wal.errors import CorruptError
from centroidb.wal.types import Lsn, TableId
from tests.wal.files import (
    committed,
    create_table,
    delete,
    errors_of,
    memory_file,
    put,
    rows_of,
)


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    """A database whose log has nine records, two of them of one commit."""
    made = memory_file()
    first, second = create_table(made, "a"), create_table(made, "b")
    put(made, first, 1, 2, 3)
    put(made, first, 2, 4)
    delete(made, first, 1)
    both = [Write(first, rows_of([9])), Write(second, rows_of([9]))]
    committed(made, CommitRequest(both))
    put(made, second, 5)
    put(made, second, 6)
    yield made
    made.close()


def records(connection: sqlite3.Connection) -> list[tuple[int, int]]:
    """(lsn, seq) of all records."""
    return [(record.lsn, record.seq) for record, _ in log.read(connection, Lsn(0), Lsn(1_000))]


def test_a_log_that_nobody_touched_is_whole(connection: sqlite3.Connection) -> None:
    """One record a table and commit, LSNs without gaps, and nothing found wrong."""
    expected = [(1, 0), (2, 0), (3, 0), (4, 0), (5, 0), (6, 0), (6, 1), (7, 0), (8, 0)]

    assert records(connection) == expected
    assert log.verify(connection) == []
    assert errors_of(connection) == []


def test_a_record_says_what_its_commit_did(connection: sqlite3.Connection) -> None:
    """A record names the run of new versions and the versions it ended, ascending."""
    of_four = next(record for record, _ in log.read(connection, Lsn(3), Lsn(4)))

    assert (of_four.kind, of_four.first_vid, of_four.count) == ("rows", 4, 2)
    assert of_four.ended.tolist() == [2]


def test_reading_keeps_to_its_bounds_and_its_table(connection: sqlite3.Connection) -> None:
    """Reading (after, until] of one table gives just those records, in order."""
    found = [(r.lsn, r.table) for r, _ in log.read(connection, Lsn(3), Lsn(7), TableId(2))]

    assert found == [(6, 2), (7, 2)]


TAMPERING = {
    "a record lost": "DELETE FROM wal WHERE lsn = 4",
    "the first record lost": "DELETE FROM wal WHERE lsn = 1",
    "the last record lost": "DELETE FROM wal WHERE lsn = 8",
    "half a commit lost": "DELETE FROM wal WHERE lsn = 6 AND seq = 1",
    "the other half lost": "DELETE FROM wal WHERE lsn = 6 AND seq = 0",
    "all records lost": "DELETE FROM wal",
    "a record doubled": "INSERT INTO wal SELECT lsn, 1, table_id, kind, first_vid, count, "
    "rows_crc, time_ns, crc, ended FROM wal WHERE lsn = 4",
    "a record from the future": "INSERT INTO wal SELECT 9, seq, table_id, kind, first_vid, count, "
    "rows_crc, time_ns, crc, ended FROM wal WHERE lsn = 8",
    "a record from before the anchor": "INSERT INTO wal SELECT 0, seq, table_id, kind, first_vid, "
    "count, rows_crc, time_ns, crc, ended FROM wal WHERE lsn = 8",
    "a record moved": "UPDATE wal SET lsn = 40 WHERE lsn = 4",
    "two records swapped": "UPDATE wal SET lsn = CASE lsn WHEN 4 THEN -5 ELSE -4 END "
    "WHERE lsn IN (4, 5); UPDATE wal SET lsn = -lsn WHERE lsn < 0",
    "another table": "UPDATE wal SET table_id = 2 WHERE lsn = 4",
    "another kind": "UPDATE wal SET kind = 'drop_table' WHERE lsn = 4",
    "another run": "UPDATE wal SET first_vid = 5 WHERE lsn = 4",
    "another count": "UPDATE wal SET count = 1 WHERE lsn = 4",
    "other rows": "UPDATE wal SET rows_crc = rows_crc + 1 WHERE lsn = 4",
    "another time": "UPDATE wal SET time_ns = time_ns + 1 WHERE lsn = 4",
    "another crc": "UPDATE wal SET crc = crc + 1 WHERE lsn = 4",
    "the last crc": "UPDATE wal SET crc = crc + 1 WHERE lsn = 8",
    "other versions ended": "UPDATE wal SET ended = x'0300000000000000' WHERE lsn = 4",
    "no version ended": "UPDATE wal SET ended = x'' WHERE lsn = 4",
    "next LSN up": "UPDATE meta SET value = value + 1 WHERE key = 'next_lsn'",
    "next LSN down": "UPDATE meta SET value = value - 1 WHERE key = 'next_lsn'",
    "last crc in meta": "UPDATE meta SET value = value + 1 WHERE key = 'last_crc'",
    "anchor LSN": "UPDATE meta SET value = value + 1 WHERE key = 'anchor_lsn'",
    "anchor crc": "UPDATE meta SET value = value + 1 WHERE key = 'anchor_crc'",
}


@pytest.mark.parametrize("script", TAMPERING.values(), ids=TAMPERING.keys())
def test_tampering_is_found(connection: sqlite3.Connection, script: str) -> None:
    """Whatever is lost, doubled, moved or changed in the log, verifying it says so."""
    connection.executescript(script)

    assert log.verify(connection)


@pytest.mark.parametrize("script", TAMPERING.values(), ids=TAMPERING.keys())
def test_tampering_is_found_after_truncation(connection: sqlite3.Connection, script: str) -> None:
    """The same holds for what is left of a truncated log; scripts that hit nothing excepted."""
    log.truncate(connection, Lsn(3))
    before = connection.total_changes
    connection.executescript(script)

    assert bool(log.verify(connection)) == (connection.total_changes > before)


def test_half_a_vid_is_damage(connection: sqlite3.Connection) -> None:
    """A packed list of vids whose length is no multiple of 8 raises CorruptError."""
    connection.execute("UPDATE wal SET ended = x'030000' WHERE lsn = 4")

    with pytest.raises(CorruptError, match="3 bytes, expected a multiple of 8"):
        log.verify(connection)


def test_rows_that_are_not_those_of_their_record_are_found(connection: sqlite3.Connection) -> None:
    """A row whose stored crc was changed no longer matches the record it was written with."""
    connection.execute("UPDATE rows_1 SET crc = crc + 1 WHERE vid = 5")

    assert "log: the rows of LSN 4 are not those it was written with" in errors_of(connection)


@pytest.mark.parametrize("until", range(9))
def test_truncation_moves_the_anchor(connection: sqlite3.Connection, until: int) -> None:
    """Records up to the position go, the rest stay, and the chain holds from the anchor on."""
    before = records(connection)

    gone = log.truncate(connection, Lsn(until))

    assert records(connection) == [place for place in before if place[0] > until]
    assert gone == len(before) - len(records(connection))
    assert meta.get_int(connection, "anchor_lsn") == until
    assert errors_of(connection) == []


def test_an_empty_log_goes_on(connection: sqlite3.Connection) -> None:
    """After truncating everything the next commit continues the chain and the LSNs."""
    log.truncate(connection, Lsn(8))
    result = put(connection, TableId(1), 10)

    assert result.progress.heads.lsn == 9
    assert records(connection) == [(9, 0)]
    assert errors_of(connection) == []


def test_truncating_what_is_gone_does_nothing(connection: sqlite3.Connection) -> None:
    """Truncating to a position before the anchor leaves log and anchor alone."""
    log.truncate(connection, Lsn(5))

    assert log.truncate(connection, Lsn(3)) == 0
    assert meta.get_int(connection, "anchor_lsn") == 5
    assert errors_of(connection) == []


def test_vids_survive_packing() -> None:
    """What is packed is unpacked again, as int64."""
    vids = np.array([1, 2**40, 2**62], np.int64)

    assert log.unpack_vids(log.pack_vids(vids)).tolist() == vids.tolist()
    assert log.unpack_vids(b"").dtype == np.int64
