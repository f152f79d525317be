"""Row versions: written once, never updated, ended by an entry in `dead_<t>`.

    rows_7   vid -> key, lsn, crcs, payload, vector    every version still stored
    live_7   key -> vid                                the version that is current
    dead_7   vid -> key, end LSN                       versions that were replaced or deleted

Statements take many rows each. A statement a row would take the interpreter's
lock back a row, and beside a busy thread that stalls a commit for 100 to 300 ms.
For the same reason what is read of many rows comes as one value: SQLite joins the
BLOBs itself, without the lock, about 1.5 times as fast as row by row, and twice
beside a busy thread; keys and payloads come as JSON, vectors in blocks (`vectors`).
"""

import json
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from .catalog import TableRow
from .checksum import row_blobs, row_crc
from .errors import CorruptError
from .typed import integers, joined_integers, same_length
from .types import Key, KeyType, Lsn, TableId, Vid

T = TypeVar("T")

ROWS_A_STATEMENT = 128
KEYS_A_STATEMENT = 1_024
DEATHS_A_READ = 1 << 20
VERSIONS_A_READ = 1 << 16
_FIELDS = 7
SQL_TYPES: dict[KeyType, str] = {"int": "INTEGER", "str": "TEXT"}
"""What a key is cast to when it is read."""
DIMS_MAX = (1 << 28) // 4
"""A row is no longer than SQLite may read (`connection`)."""


@dataclass(frozen=True)
class Rows:
    """New row versions, ready to be written.

    keys: n distinct keys; payloads: JSON text or None; vectors: float32 (n, d), C-contiguous;
    crcs: uint32 (n,); values: the parameters of the INSERT, flat, seven a row: vid and LSN, which
    only the writer knows, and what he is given.
    """

    keys: Sequence[Key]
    payloads: Sequence[str | None]
    vectors: NDArray[np.float32]
    crcs: NDArray[np.uint32]
    values: list[Any]

    @classmethod
    def of(
        cls, keys: Sequence[Key], payloads: Sequence[str | None], vectors: NDArray[np.float32]
    ) -> "Rows":
        """Checksum rows and lay out their parameters, away from the writer."""
        vectors = np.ascontiguousarray(vectors, dtype="<f4")
        blobs = row_blobs(vectors)
        sums = list(map(zlib.crc32, blobs))
        crcs = list(map(row_crc, keys, payloads, sums))
        values: list[Any] = [None] * (_FIELDS * len(crcs))
        values[2::_FIELDS], values[3::_FIELDS] = keys, crcs
        values[4::_FIELDS], values[5::_FIELDS] = sums, payloads
        values[6::_FIELDS] = blobs
        return cls(keys, payloads, vectors, np.array(crcs, np.uint32), values)

    def __len__(self) -> int:
        return len(self.keys)


Commit = tuple[Lsn, Rows]
"""The rows that become visible at an LSN."""


@dataclass(frozen=True)
class Versions:
    """Stored versions named by vid (int64, ascending), with their crcs (uint32)."""

    vids: NDArray[np.int64]
    crcs: NDArray[np.uint32]

    @classmethod
    def of(cls, pairs: Sequence[tuple[int, int]]) -> "Versions":
        """From rows of (vid, crc) in any order."""
        vids = integers("row versions", [vid for vid, _ in pairs])
        crcs = integers("checksums of row versions", [crc for _, crc in pairs])
        order = np.argsort(vids, kind="stable")
        return cls(vids[order], crcs.astype(np.uint32)[order])


def parts(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Consecutive slices of at most `size` items."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def insert(
    connection: sqlite3.Connection, table: TableId, first_vid: Vid, commits: Sequence[Commit]
) -> None:
    """Write new versions with the vids `first_vid`, `first_vid` + 1, ..."""
    values: list[Any] = []
    lsns: list[Lsn] = []
    for lsn, rows in commits:
        values += rows.values
        lsns += [lsn] * len(rows)
    values[::_FIELDS] = range(first_vid, first_vid + len(lsns))
    values[1::_FIELDS] = lsns
    for some in parts(values, _FIELDS * ROWS_A_STATEMENT):
        tuples = ",".join(["(?,?,?,?,?,?,?)"] * (len(some) // _FIELDS))
        connection.execute(
            f"INSERT INTO rows_{table:d} (vid, lsn, key, crc, vector_crc, payload, vector) "
            f"VALUES {tuples}",
            some,
        )


def replaced_by(
    connection: sqlite3.Connection, table: TableId, first_vid: Vid, count: int
) -> list[tuple[int, int, Key, int]]:
    """(vid, crc, key, LSN) of the live versions whose keys the new run writes again, at the LSN."""
    return connection.execute(
        "SELECT l.vid, o.crc, r.key, r.lsn "
        f"FROM rows_{table:d} r JOIN live_{table:d} l ON l.key = r.key "
        f"JOIN rows_{table:d} o ON o.vid = l.vid WHERE r.vid >= ? AND r.vid < ?",
        (first_vid, first_vid + count),
    ).fetchall()


def end_replaced(
    connection: sqlite3.Connection, table: TableId, first_vid: Vid, count: int
) -> None:
    """Record that each of those ended at the LSN of the version that replaces it."""
    connection.execute(
        f"INSERT INTO dead_{table:d} (vid, key, end_lsn) SELECT l.vid, l.key, r.lsn "
        f"FROM rows_{table:d} r JOIN live_{table:d} l ON l.key = r.key "
        "WHERE r.vid >= ? AND r.vid < ?",
        (first_vid, first_vid + count),
    )


def make_live(connection: sqlite3.Connection, table: TableId, first_vid: Vid, count: int) -> None:
    """Point the keys of the new run at it."""
    connection.execute(
        f"INSERT OR REPLACE INTO live_{table:d} (key, vid) SELECT key, vid FROM rows_{table:d} "
        "WHERE vid >= ? AND vid < ?",
        (first_vid, first_vid + count),
    )


def question_marks(n: int) -> str:
    """So many parameters of a statement."""
    return ",".join("?" * n)


def live_versions(
    connection: sqlite3.Connection, table: TableId, keys: Sequence[Key]
) -> list[tuple[int, int, Key]]:
    """(vid, crc, key) of the live versions of `keys`; keys that have none are left out."""
    found: list[tuple[int, int, Key]] = []
    for some in parts(keys, KEYS_A_STATEMENT):
        found += connection.execute(
            f"SELECT l.vid, r.crc, l.key FROM live_{table:d} l JOIN rows_{table:d} r "
            f"ON r.vid = l.vid WHERE l.key IN ({question_marks(len(some))})",
            some,
        ).fetchall()
    return found


def end(connection: sqlite3.Connection, table: TableId, vids: NDArray[np.int64], lsn: Lsn) -> None:
    """Record that these versions ended at `lsn`."""
    for some in parts(vids.tolist(), KEYS_A_STATEMENT):
        connection.execute(
            f"INSERT INTO dead_{table:d} (vid, key, end_lsn) SELECT vid, key, ? "
            f"FROM rows_{table:d} WHERE vid IN ({question_marks(len(some))})",
            [lsn, *some],
        )


def remove_live(connection: sqlite3.Connection, table: TableId, keys: Sequence[Key]) -> None:
    """Forget that these keys have a live version."""
    for some in parts(keys, KEYS_A_STATEMENT):
        connection.execute(
            f"DELETE FROM live_{table:d} WHERE key IN ({question_marks(len(some))})", some
        )


def changed_after(
    connection: sqlite3.Connection, table: TableId, keys: Sequence[Key], high: Vid, lsn: Lsn
) -> Key | None:
    """A key among `keys` that a commit after the snapshot (`lsn`, `high`) wrote, or None."""
    for some in parts(keys, KEYS_A_STATEMENT):
        marks = question_marks(len(some))
        row = connection.execute(
            f"SELECT key FROM live_{table:d} WHERE key IN ({marks}) AND vid >= ? UNION ALL "
            f"SELECT key FROM dead_{table:d} WHERE key IN ({marks}) AND end_lsn > ? LIMIT 1",
            [*some, high, *some, lsn],
        ).fetchone()
        if row:
            key: Key = row[0]
            return key
    return None


def versions_at(
    connection: sqlite3.Connection, table: TableId, keys: Sequence[Key], high: Vid, lsn: Lsn
) -> dict[Key, Vid]:
    """The version of each of `keys` that the snapshot (`lsn`, `high`) sees."""
    found: dict[Key, Vid] = {}
    for some in parts(keys, KEYS_A_STATEMENT):
        marks = question_marks(len(some))
        found.update(
            connection.execute(
                f"SELECT key, vid FROM live_{table:d} WHERE key IN ({marks}) AND vid < ? UNION ALL "
                f"SELECT key, vid FROM dead_{table:d} "
                f"WHERE key IN ({marks}) AND vid < ? AND end_lsn > ?",
                [*some, high, *some, high, lsn],
            )
        )
    return found


class StoredRow(NamedTuple):
    """A row version as the file has it: payload is JSON text, vector little-endian float32."""

    key: Key
    payload: str | None
    vector: bytes
    vector_crc: int
    crc: int

    def has_its_vector(self) -> bool:
        """Whether its vector has its checksum."""
        return zlib.crc32(self.vector) == self.vector_crc

    def has_its_fields(self) -> bool:
        """Whether all but its vector is as it was written, and the key may be that of a row."""
        if not isinstance(self.key, int | str):
            return False
        return row_crc(self.key, self.payload, self.vector_crc) == self.crc


_STORED = (
    "SELECT json_group_array(json_array(CAST(vid AS INTEGER), CAST(key AS {key}), "
    "CAST(payload AS TEXT), CAST(vector_crc AS INTEGER), CAST(crc AS INTEGER))), "
    "CAST(group_concat(vector, '') AS BLOB) FROM "
)
"""All but the vectors as JSON; the casts are for damaged files, since JSON can not hold BLOBs."""


def fetch(
    connection: sqlite3.Connection, table: TableRow, vids: Sequence[int]
) -> dict[int, StoredRow]:
    """These versions; CorruptError when one is missing or is not as it was written."""
    found = stored_rows(connection, table, vids)
    require_whole(table, found.values())
    return found


def require_whole(table: TableRow, stored: Iterable[StoredRow]) -> None:
    """CorruptError for one of `stored_rows` that is not as it was written."""
    for row in stored:
        if not row.has_its_fields():
            raise _damaged(table, row)


def _damaged(table: TableRow, row: StoredRow) -> CorruptError:
    return CorruptError(
        f"table {table.name!r}: the row with key {row.key!r} does not match its checksum"
    )


def stored_rows(
    connection: sqlite3.Connection, table: TableRow, vids: Sequence[int]
) -> dict[int, StoredRow]:
    """These versions; CorruptError when one is missing, or its vector is not as it was written."""
    found: dict[int, StoredRow] = {}
    for some in parts(vids, KEYS_A_STATEMENT):
        found.update(_stored(connection, table, some))
    for vid in vids:
        if vid not in found:
            raise CorruptError(f"table {table.name!r}: row version {vid} is missing")
        if not found[vid].has_its_vector():
            raise _damaged(table, found[vid])
    return found


def _stored(
    connection: sqlite3.Connection, table: TableRow, vids: Sequence[int]
) -> Iterator[tuple[int, StoredRow]]:
    columns = _STORED.format(key=SQL_TYPES[table.key_type])
    text, vectors = connection.execute(
        f"{columns} rows_{table.id:d} WHERE vid IN ({question_marks(len(vids))})", vids
    ).fetchone()
    size, start = 4 * table.dim, 0
    for vid, key, payload, vector_crc, crc in json.loads(text):
        vector = (vectors or b"")[start : start + size]
        start += size
        yield vid, StoredRow(key, payload, vector, vector_crc, crc)


def read_versions(
    connection: sqlite3.Connection, table: TableId, first: Vid, until: Vid
) -> Versions:
    """vids and crcs of all stored versions with `first` <= vid < `until`."""
    vids, crcs = connection.execute(
        f"SELECT group_concat(vid), group_concat(crc) FROM rows_{table:d} "
        "WHERE vid >= ? AND vid < ?",
        (first, until),
    ).fetchone()
    found, sums = joined_integers(vids), joined_integers(crcs).astype(np.uint32)
    same_length(f"table {table}, rows {first} to {until}", found, sums)
    order = np.argsort(found, kind="stable")
    return Versions(found[order], sums[order])


def all_versions(connection: sqlite3.Connection, table: TableId, until: Vid) -> Versions:
    """vids and crcs of all stored versions below `until`; 12 bytes of memory each."""
    vids, crcs = [np.empty(0, np.int64)], [np.empty(0, np.uint32)]
    after = -(1 << 63)
    while True:
        some = connection.execute(
            f"SELECT vid, crc FROM rows_{table:d} WHERE vid > ? AND vid < ? ORDER BY vid LIMIT ?",
            (after, until, VERSIONS_A_READ),
        ).fetchall()
        if not some:
            return Versions(np.concatenate(vids), np.concatenate(crcs))
        found = Versions.of(some)
        _require_later(table, found.vids, after)
        vids.append(found.vids)
        crcs.append(found.crcs)
        after = int(found.vids[-1])


def live_vids(connection: sqlite3.Connection, table: TableId) -> NDArray[np.int64]:
    """The newest version of every key, in no order."""
    (vids,) = connection.execute(f"SELECT group_concat(vid) FROM live_{table:d}").fetchone()
    return joined_integers(vids)


def crcs_of(connection: sqlite3.Connection, table: TableId, vids: NDArray[np.int64]) -> Versions:
    """These versions (ascending) with their crcs."""
    pairs: list[tuple[int, int]] = []
    for some in parts(vids.tolist(), KEYS_A_STATEMENT):
        pairs += connection.execute(
            f"SELECT vid, crc FROM rows_{table:d} WHERE vid IN ({question_marks(len(some))})", some
        ).fetchall()
    return Versions.of(pairs)


def read_deaths(
    connection: sqlite3.Connection, table: TableId
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(vids, end LSNs) of all ended versions still stored, by vid."""
    vids, ends = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    after = -(1 << 63)
    while True:
        some = connection.execute(
            "SELECT group_concat(vid), group_concat(end_lsn) FROM (SELECT vid, end_lsn "
            f"FROM dead_{table:d} WHERE vid > ? ORDER BY vid LIMIT ?)",
            (after, DEATHS_A_READ),
        ).fetchone()
        if some[0] is None:
            return np.concatenate(vids), np.concatenate(ends)
        vids.append(joined_integers(some[0]))
        ends.append(joined_integers(some[1]))
        same_length(f"table {table}: its ended versions", vids[-1], ends[-1])
        _require_later(table, vids[-1], after)
        after = int(vids[-1].max())


def _require_later(table: TableId, vids: NDArray[np.int64], after: int) -> None:
    """CorruptError where a damaged page gives versions that were read before: it would not end."""
    if vids.min() <= after:
        raise CorruptError(f"table {table}: versions after {after} are out of order")


def require_plausible(connection: sqlite3.Connection, table: TableRow) -> None:
    """CorruptError where dims, next vid or count of a table can not be those of its rows."""
    name, t = f"table {table.name!r}", int(table.id)
    first, last = connection.execute(f"SELECT min(vid), max(vid) FROM rows_{t}").fetchone()
    if first is not None and not 0 < first <= last < table.next_vid:
        raise CorruptError(f"{name}: versions {first} to {last}, expected 1 to {table.next_vid}")
    logged = connection.execute(
        "SELECT first_vid + count FROM wal WHERE table_id = ? AND kind = 'rows' "
        "ORDER BY lsn DESC, seq DESC LIMIT 1",
        (t,),
    ).fetchone()
    if table.next_vid < 1 or (logged is not None and logged[0] != table.next_vid):
        raise CorruptError(f"{name}: its next version can not be {table.next_vid}")
    if not 0 <= table.live < table.next_vid:
        raise CorruptError(f"{name}: {table.live} live rows of {table.next_vid - 1} can not be")
    if not 0 < table.dim <= DIMS_MAX:
        raise CorruptError(f"{name}: vectors of {table.dim} dimensions can not be")
    vector = connection.execute(f"SELECT length(vector) FROM rows_{t} LIMIT 1").fetchone()
    if vector is not None and vector[0] != 4 * table.dim:
        raise CorruptError(f"{name}: a vector of {vector[0]} bytes, expected {table.dim} values")


def purge(connection: sqlite3.Connection, table: TableId, vids: NDArray[np.int64]) -> None:
    """Remove ended versions that no snapshot sees and no segment lists."""
    for some in parts(vids.tolist(), KEYS_A_STATEMENT):
        marks = question_marks(len(some))
        connection.execute(f"DELETE FROM rows_{table:d} WHERE vid IN ({marks})", some)
        connection.execute(f"DELETE FROM dead_{table:d} WHERE vid IN ({marks})", some)
