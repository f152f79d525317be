"""Which rows k-means never sees, so that an index can be judged by them.

A row that k-means has seen lies nearer to its centroid than one like it that comes later, and is
found with fewer probes.  Which rows are kept out follows from the vid alone, by a multiplicative
hash (Knuth, TAOCP 3, 6.4), so nothing has to be stored.
"""

from typing import Final

import numpy as np

from .arrays import Mask, Vids

KEPT_OUT_ONE_IN: Final = 32
KEPT_OUT_ROWS_MIN: Final = 4_096
"""Of fewer rows k-means sees all: it has none to spare."""

_MULTIPLIER: Final = np.uint64(0x9E3779B97F4A7C15)
_SHIFT: Final = np.uint64(64 - 5)


def kept_out(vids: Vids) -> Mask:
    """Which of these rows (n,) are kept out: one in `KEPT_OUT_ONE_IN`."""
    chosen: Mask = (vids.astype(np.uint64) * _MULTIPLIER) >> _SHIFT == 0
    return chosen
