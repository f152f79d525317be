"""Vectors of many rows at once, as scans, builds and gates read them.

SQLite joins the columns of all rows into one value each: see `rows`. The checksum of every vector
is proven, so a damaged vector never counts as a far one.
"""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .checksum import first_damaged, row_crc
from .errors import CorruptError
from .rows import KEYS_A_STATEMENT, SQL_TYPES, parts, question_marks
from .typed import joined_integers, same_length
from .types import Key, KeyType, TableId, Vid


@dataclass(frozen=True)
class VectorBlock:
    """Vectors of a run of vids: vids int64 (n,) ascending, crcs uint32 (n,), float32 (n, dim)."""

    vids: NDArray[np.int64]
    crcs: NDArray[np.uint32]
    vectors: NDArray[np.float32]
    keys: Sequence[Key | None] = ()
    """If asked for: of rows without payloads, None for others, and where its checksum is wrong."""


_JOINED = (
    "SELECT group_concat(vid), group_concat(crc), group_concat(vector_crc), "
    "CAST(group_concat(vector, '') AS BLOB) FROM "
)
_BARE_KEYS = "json_group_array(CASE WHEN payload IS NULL THEN CAST(key AS {key}) END)"
_KEYED = _JOINED.replace(" FROM ", f", {_BARE_KEYS} FROM ")


def _block(joined: Sequence[Any], table: TableId, dim: int) -> VectorBlock:
    vids = joined_integers(joined[0])
    name = f"table {table}, rows {vids[:1]} to {vids[-1:]}"
    raw = joined[3] or b""
    if len(raw) != len(vids) * dim * 4:
        raise CorruptError(f"{name}: {len(raw)} bytes of vectors of {dim}")
    vectors = np.frombuffer(raw, dtype="<f4").reshape(-1, dim)
    crcs = joined_integers(joined[1]).astype(np.uint32)
    vector_crcs = joined_integers(joined[2]).astype(np.uint32)
    same_length(name, vids, crcs, vector_crcs)
    damaged = first_damaged(vectors, vector_crcs)
    if damaged is not None:
        raise CorruptError(
            f"table {table}: the vector of row version {vids[damaged]} does not match its checksum"
        )
    keys = _keys(joined[4], crcs, vector_crcs) if len(joined) > 4 else []
    if np.all(vids[1:] > vids[:-1]):
        return VectorBlock(vids, crcs, vectors, keys)
    order = np.argsort(vids)  # group_concat promises no order, though it follows the rowid
    return VectorBlock(vids[order], crcs[order], vectors[order], [keys[at] for at in order if keys])


def _keys(text: str, crcs: NDArray[np.uint32], sums: NDArray[np.uint32]) -> list[Key | None]:
    found = zip(json.loads(text), sums.tolist(), crcs.tolist(), strict=True)
    return [
        key if key is not None and row_crc(key, None, vector_crc) == crc else None
        for key, vector_crc, crc in found
    ]


def read_block(
    connection: sqlite3.Connection, table: TableId, first: Vid, until: Vid, dim: int
) -> VectorBlock:
    """All stored versions with `first` <= vid < `until`, dead ones too."""
    sql = f"{_JOINED} rows_{table:d} WHERE vid >= ? AND vid < ?"
    return _block(connection.execute(sql, (first, until)).fetchone(), table, dim)


def read_vectors(
    connection: sqlite3.Connection,
    table: TableId,
    vids: NDArray[np.int64],
    dim: int,
    *,
    keys_of: KeyType | None = None,
) -> VectorBlock:
    """The versions named by `vids` (ascending), perhaps with keys; CorruptError if one lacks."""
    columns = _KEYED.format(key=SQL_TYPES[keys_of]) if keys_of else _JOINED
    blocks = [
        _block(
            connection.execute(
                f"{columns} rows_{table:d} WHERE vid IN ({question_marks(len(some))})", some
            ).fetchone(),
            table,
            dim,
        )
        for some in parts(vids.tolist(), KEYS_A_STATEMENT)
    ]
    if not blocks:
        return VectorBlock(vids, np.empty(0, np.uint32), np.empty((0, dim), np.float32))
    found = VectorBlock(
        np.concatenate([block.vids for block in blocks]),
        np.concatenate([block.crcs for block in blocks]),
        np.concatenate([block.vectors for block in blocks]),
        [key for block in blocks for key in block.keys],
    )
    if not np.array_equal(found.vids, vids):
        missing = np.setdiff1d(vids, found.vids)
        raise CorruptError(f"table {table}: row versions {missing[:5].tolist()} are missing")
    return found
