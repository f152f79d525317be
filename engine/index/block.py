"""A block: rows in memory, ready to be searched.

The segments of a partition become one block, in the order in which they were folded; the rows of
a delta, or a stretch of a table, become a plain one.  A block is immutable: folding makes a longer
one, and a search that pinned fewer rows looks at the head of a longer block.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self, TypeVar

import numpy as np

from .arrays import Floats, Vids
from .codec import CODECS, CodecName, Rows
from .distance import Metric
from .flat import FloatRows
from .segment import Segment

R = TypeVar("R", bound=Rows)


@dataclass(frozen=True, slots=True)
class Block:
    """Rows (n,) of one partition, delta or table: as codes, as float32 vectors, or both."""

    metric: Metric
    codec_name: CodecName
    centroid: Floats | None
    """(d,): what the rows are encoded under; None for plain rows"""
    vids: Vids
    codes: Rows | None
    """None where the codec keeps float32 vectors, and for plain rows"""
    floats: FloatRows | None
    """None where only codes are in memory"""

    @classmethod
    def of(
        cls,
        codec_name: CodecName,
        metric: Metric,
        centroid: Floats,
        segments: Sequence[Segment],
        vectors: Floats | None,
    ) -> Self:
        """The rows of segments, with their float32 vectors (n, d) as given, if at hand.

        The flat codec holds the vectors itself and needs none.
        """
        codec = CODECS[codec_name]
        vids = np.concatenate([np.empty(0, np.int64), *(each.vids for each in segments)])
        rows: list[Rows] = [
            codec.decode(metric, centroid, each.codes, each.bounds) for each in segments
        ] or [codec.decode(metric, centroid, b"", b"")]
        joined = type(rows[0]).joined(rows)
        if isinstance(joined, FloatRows):
            return cls(metric, codec_name, centroid, vids, None, joined)
        floats = None if vectors is None else FloatRows.of(metric, vectors)
        return cls(metric, codec_name, centroid, vids, joined, floats)

    @classmethod
    def plain(cls, metric: Metric, vids: Vids, vectors: Floats) -> Self:
        """Rows without codes, from their vectors (n, d) as given."""
        return cls(metric, "flat", None, vids, None, FloatRows.of(metric, vectors))

    def with_vectors(self, vectors: Floats) -> Self:
        """The same rows, whose codes are at hand, with their vectors (n, d) as given."""
        return replace(self, floats=FloatRows.of(self.metric, vectors))

    def extended(self, segment: Segment, vectors: Floats | None) -> Self:
        """These rows, then a segment's, with their vectors if at hand.

        Without the segment's vectors the longer block has codes only.
        """
        assert self.centroid is not None, "only rows of a partition are extended by segments"
        more = self.of(self.codec_name, self.metric, self.centroid, [segment], vectors)
        return replace(
            self,
            vids=np.concatenate([self.vids, more.vids]),
            codes=_joined(self.codes, more.codes),
            floats=_joined(self.floats, more.floats),
        )

    def slice(self, start: int, stop: int) -> Self:
        """A view of the rows from start to before stop."""
        return replace(
            self,
            vids=self.vids[start:stop],
            codes=None if self.codes is None else self.codes.slice(start, stop),
            floats=None if self.floats is None else self.floats.slice(start, stop),
        )

    def head(self, n: int) -> Self:
        """A view of the first n rows."""
        return self.slice(0, n)

    def __len__(self) -> int:
        return len(self.vids)

    @property
    def vectors(self) -> Floats | None:
        """Float32 vectors (n, d) as given, or None where only codes are in memory."""
        return None if self.floats is None else self.floats.vectors

    @property
    def sieve(self) -> Rows:
        """The rows to bracket: as float32 where possible, which leaves the least to measure."""
        rows = self.codes if self.floats is None else self.floats
        assert rows is not None, "a block has codes or vectors"
        return rows

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the block takes."""
        forms = [form for form in (self.codes, self.floats) if form is not None]
        return self.vids.nbytes + sum(form.nbytes for form in forms)


def _joined(first: R | None, second: R | None) -> R | None:
    if first is None or second is None:
        return None
    return type(first).joined([first, second])
