"""A segment: one immutable stored piece of a partition."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from .arrays import Crcs, Floats, Mask, Vids
from .codec import CODECS, CodecName
from .distance import Metric


@dataclass(frozen=True, slots=True)
class Segment:
    """Rows of one partition as they are stored, encoded under the partition's centroid."""

    vids: Vids
    """(n,), ascending"""
    row_crcs: Crcs
    """(n,): the rows' own checksums, which prove at the swap that no row is missing"""
    codes: bytes
    """n records of the codec"""
    bounds: bytes
    """n records of the codec, or nothing"""

    def __len__(self) -> int:
        return len(self.vids)

    def keep(self, mask: Mask) -> Self:
        """The rows where mask (n,) is true, their codes unchanged."""
        return type(self)(
            self.vids[mask],
            self.row_crcs[mask],
            _kept(self.codes, mask),
            _kept(self.bounds, mask),
        )


def encode_segment(
    codec_name: CodecName,
    metric: Metric,
    centroid: Floats,
    vids: Vids,
    row_crcs: Crcs,
    vectors: Floats,
) -> Segment:
    """Encode vectors (n, d) as given, ordered by their vids (n,), for a centroid (d,)."""
    codes, bounds = CODECS[codec_name].encode(metric, centroid, vectors)
    return Segment(vids, row_crcs, codes, bounds)


def _kept(records: bytes, mask: Mask) -> bytes:
    if not records:
        return records
    rows = np.frombuffer(records, np.uint8).reshape(len(mask), -1)
    return rows[mask].tobytes()
