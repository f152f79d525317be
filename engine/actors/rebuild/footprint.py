"""What a build takes in memory, phase by phase: a part that is there once, and lanes.

    bytes     a row    a partition    sample        a lane
    versions  8                                     vids of some rows, as text
    sample    8                       vectors       a block read
    cluster   8        sums, means    vectors       a block assigned, its sums
    assign    12       centroids                    a block read and assigned
    draw      12       centroids      positions
    encode    12       centroids      positions     a group of rows read and encoded
    catch up  12       centroids      positions     the delta, a block
    verify    12       centroids      positions     a segment
    gate      12       both searches  positions     rows times queries

Each figure is an upper bound of what numpy and Python allocate there, read off the code and
compared with what they do allocate; SQLite's copy of a block that is read is in it. It grows
with every size, so a size can be fitted by halving.

Not counted: the cache, the deaths (8 bytes a version), the pages of connections. Nor is what
data can do that tells rows apart badly: where thousands of rows are equal, the pairs of a row
and a centroid at the same distance; where the float32 products of the gate tell nothing, the
pairs of a query and a row.
"""

from dataclasses import dataclass
from typing import Final, Literal

from ....wal.limits import Limits
from ...index.centroids import ASSIGN_PAIRS, CROSSOVER
from ...index.distance import BLOCK_VALUES
from ...index.gate import QUERIES
from ...index.kmeans import START_ROWS
from ...index.scan import MEASURED_VALUES

VID_BYTES: Final = 8
HOME_BYTES: Final = 4
"""The partition of a row."""
TEXT_BYTES: Final = 160
"""A vid and a crc as SQLite hands them over: joined text, then strings, then numbers."""
SEGMENT_BYTES: Final = 500
"""What is known of a segment in memory: a reference, in tuples and lists."""
LINK_BYTES: Final = 400
"""The links of a centroid in a graph."""
PAIR_BYTES: Final = 24
"""A query of the gate and a row: their product, a bracket, what is made of it."""
BASE_BYTES: Final = 256 << 10
"""Tasks, events, statements."""

WINDOW_BLOCKS: Final = 8
"""Blocks assigned between two of the writes that keep them."""

SORTED_GROUPS: Final = 8
"""Groups whose rows are sorted by partition in one pass over all rows."""

Phase = Literal[
    "versions", "sample", "cluster", "assign", "draw", "encode", "catch up", "verify", "gate"
]

BYTES_A_ROW: Final[dict[Phase, int]] = {
    "versions": VID_BYTES,
    "sample": VID_BYTES,
    "cluster": VID_BYTES,
    "assign": VID_BYTES + HOME_BYTES,
    "draw": VID_BYTES + HOME_BYTES,
    "encode": VID_BYTES + HOME_BYTES,
    "catch up": VID_BYTES + HOME_BYTES,
    "verify": VID_BYTES + HOME_BYTES,
    "gate": VID_BYTES + HOME_BYTES,
}
"""What is held of every row."""


@dataclass(frozen=True, kw_only=True)
class BuildSize:
    """What is to be built.

    rows: visible at S0; sample_rows: what k-means is to see;
    segment_rows, delta_rows: of a segment and of a delta, at most.
    """

    rows: int
    dim: int
    nlist: int
    sample_rows: int
    segment_rows: int
    delta_rows: int

    @classmethod
    def of(cls, rows: int, dim: int, nlist: int, *, samples: int, limits: Limits) -> "BuildSize":
        """`samples` for each partition; segments and deltas as the limits have them."""
        row_bytes = 4 * dim
        return cls(
            rows=rows,
            dim=dim,
            nlist=nlist,
            sample_rows=min(rows, nlist * samples),
            segment_rows=max(1, limits.slice_bytes // row_bytes),
            delta_rows=max(1, min(limits.delta_rows, limits.delta_bytes // row_bytes)),
        )

    def __str__(self) -> str:
        return f"{self.rows:,} rows of {self.dim:,} dimensions in {self.nlist:,} partitions"


class Footprint:
    """Of one build, in bytes. `sample` and `rows` are counts of rows."""

    def __init__(self, size: BuildSize) -> None:
        self.size = size
        self._row = 4 * size.dim
        """Bytes of a vector."""

    def held(self, phase: Phase) -> int:
        """For all rows, at whatever sizes."""
        return BASE_BYTES + self.size.rows * BYTES_A_ROW[phase]

    # There once, beside what is held of every row.

    def sample(self, sample: int) -> int:
        """Positions and vectors of the sample; before, what drawing takes."""
        return max(self.draw(sample), sample * (self._row + 8))

    def cluster(self, sample: int) -> int:
        """The sample, labels of a round, means; at the start, what k-means++ draws from."""
        means = self.size.nlist * 14 * self._row
        start = min(sample, START_ROWS * self.size.nlist) * (self._row + 16)
        return sample * (self._row + 48) + max(means, start)

    def searched(self) -> int:
        """Centroids, moved ones, and in float64 while they are made; graphs where it is many."""
        graph = 2 * (self._row + LINK_BYTES) if self.size.nlist >= CROSSOVER else 0
        return self.size.nlist * (6 * self._row + graph)

    def draw(self, sample: int) -> int:
        """How numpy draws without replacement: from all positions, or with a set of those drawn."""
        from_all = self.size.rows > 10_000 and sample > self.size.rows // 50
        return 16 * sample + (8 * self.size.rows if from_all else 24 * sample)

    def after(self, sample: int, segment_rows: int) -> int:
        """From the encoding on: positions of the sample, centroids, what is known of segments."""
        segments = 2 * self.size.nlist + self.size.rows // segment_rows
        return 8 * sample + self.searched() + segments * SEGMENT_BYTES

    def verify(self, segment_rows: int) -> int:
        """The vids and crcs of one segment, and their hashes."""
        return min(self.size.rows, segment_rows) * 100

    def sort(self, group_rows: int) -> int:
        """Positions of the rows of some groups, sorted by partition."""
        return SORTED_GROUPS * group_rows * 48

    def ranked(self) -> int:
        """Both generations' centroids in float64, and all partitions ranked for some queries."""
        return self.size.nlist * (6 * self._row + 8 * 60) + 12 * QUERIES * self._row

    # A lane.

    def read_vids(self, rows: int) -> int:
        """Vids read."""
        return rows * (TEXT_BYTES + 2 * VID_BYTES)

    def read(self, rows: int) -> int:
        """A block read: SQLite's copy, its bytes, and what is picked out of them."""
        return rows * (3 * self._row + TEXT_BYTES)

    def block(self, rows: int) -> int:
        """A block read, brought into index space and assigned; its share of a window."""
        return self.read(rows) + rows * (self._row + 16 * WINDOW_BLOCKS) + self._estimates(rows)

    def _estimates(self, rows: int) -> int:
        """Rows against all centroids, a few at a time: moved rows, estimates, the best compared."""
        some = min(rows, max(1, ASSIGN_PAIRS // self.size.nlist))
        return some * (4 * self._row + 6 * self.size.nlist + 80) + rows * 12

    def cluster_block(self, rows: int) -> int:
        """A block of k-means: estimates, order by cluster, sums in float64, one more block's."""
        clusters = min(rows, self.size.nlist)
        return self._estimates(rows) + rows * 64 + clusters * 11 * self._row

    def group(self, rows: int) -> int:
        """Rows read and encoded together."""
        scratch = min(rows, max(1, BLOCK_VALUES // self.size.dim)) * 8 * self._row
        return rows * (4 * self._row + 2 * TEXT_BYTES) + scratch

    def delta(self, rows: int, block_rows: int) -> int:
        """A delta that has grown, its copy and its segments; and a block."""
        block = min(block_rows, rows)
        return 5 * (rows + block) * (self._row + 28) + self.block(block)

    def gate(self, rows: int) -> int:
        """A step of the exact search: rows, brackets for every query, and what is measured."""
        queries = min(QUERIES, self.size.rows)
        measured = min(MEASURED_VALUES, rows * queries * self.size.dim)
        scratch = min(BLOCK_VALUES, measured)
        pairs = queries * PAIR_BYTES
        return rows * (4 * self._row + TEXT_BYTES + pairs) + 8 * measured + 16 * scratch
