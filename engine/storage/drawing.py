"""Rows drawn as queries: how well an index finds what is near is measured on them."""

import sqlite3
from typing import Final

import numpy as np

from ...txn.deaths import Visibility
from ...wal import rows
from ...wal.catalog import TableRow
from ...wal.vectors import VectorBlock, read_vectors
from ..index.arrays import Vids
from ..index.kept_out import KEPT_OUT_ONE_IN, kept_out

QUERIES_MIN: Final = 32
"""Fewer tell nothing."""
DRAWN_A_QUERY: Final = 16
"""Versions drawn; those that ended are passed over."""
LOOKED_UP_A_QUERY: Final = 8
"""Of the others so many are looked up; those purged before the last open are passed over."""
KEPT_OUT_MIN: Final = 4
"""With fewer rows kept out than a query in so many, any row may be one."""


def draw(
    connection: sqlite3.Connection, table: TableRow, visibility: Visibility, seed: int, size: int
) -> VectorBlock:
    """At most `size` visible rows; the same for the same rows and seed.

    Those that k-means did not see, if there are enough of them: others are found more easily.
    Where nearly all versions ever written are gone, so that hardly one drawn among these is
    there, they are drawn among the keys.
    """
    random = np.random.default_rng((seed, table.next_vid))
    some = random.integers(1, max(2, table.next_vid), KEPT_OUT_ONE_IN * DRAWN_A_QUERY * size)
    drawn = random.permutation(np.unique(some))
    stored = _stored(connection, table, _visible(drawn, visibility), size)
    if len(stored) < min(size, table.live):
        listed = random.permutation(rows.live_vids(connection, table.id))
        stored = _stored(connection, table, _visible(listed, visibility), size)
    chosen = random.choice(stored, min(size, len(stored)), replace=False)
    return _nonzero(read_vectors(connection, table.id, np.sort(chosen), table.dim))


def _nonzero(block: VectorBlock) -> VectorBlock:
    """A vector of zeros can not be asked for under cosine, and is of no use under dot."""
    some = block.vectors.any(axis=1)
    return VectorBlock(block.vids[some], block.crcs[some], block.vectors[some])


def _visible(vids: Vids, visibility: Visibility) -> Vids:
    seen = visibility(vids)
    return vids if seen is None else vids[seen]


def _stored(connection: sqlite3.Connection, table: TableRow, drawn: Vids, size: int) -> Vids:
    """Those of some that are looked up and there, ascending: unseen ones if there are enough."""
    unseen = drawn[kept_out(drawn)]
    some = (unseen if KEPT_OUT_MIN * len(unseen) >= size else drawn)[: LOOKED_UP_A_QUERY * size]
    found: Vids = rows.crcs_of(connection, table.id, np.sort(some)).vids
    return found
