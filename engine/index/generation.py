"""A generation: one complete build of an index, and what it has learnt since.

    vid  1 ................ fold ............ filed ........... high
         |    segments      |      delta      |     batches     |
         |  stored, encoded |  in memory,     |  in memory, not |
         |  by partition    |  assigned       |  yet assigned   |

Every live row of the table is in exactly one of the three. Commits add batches,
filing turns a batch into delta, a fold turns delta into segments; rows only
move from right to left, and never to another partition: a row's partition in a
generation is a fact from the moment its batch was made. So any two searches in
one snapshot look at the same rows, whatever was filed or folded between them.

Generations hold no delete state. A row that ended stays listed until a
compaction; visibility hides it.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import cast

import numpy as np
from numpy.typing import NDArray

from ...wal.catalog import GenerationRow
from ...wal.checksum import blobs_crc
from ...wal.seal import SegmentRef
from ...wal.types import Lsn, TableId, Vid
from .centroids import CentroidSearch
from .codec import CodecName
from .delta import Delta, DeltaView
from .distance import Metric

NO_VID = Vid(0)

Segments = Mapping[int, tuple[SegmentRef, ...]]
"""The stored pieces of each partition, oldest first; partitions without any are absent."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows committed together that are not yet filed.

    vids: int64 (n,) ascending; vectors: float32 (n, d); crcs: uint32 (n,);
    `search` is what assigns them, for good.
    """

    lsn: Lsn
    vids: NDArray[np.int64]
    vectors: NDArray[np.float32]
    crcs: NDArray[np.uint32]
    search: CentroidSearch

    def __len__(self) -> int:
        return len(self.crcs)

    def where(self, mask: NDArray[np.bool_]) -> "Batch":
        """Those of its rows; mask: bool (n,)."""
        return Batch(self.lsn, self.vids[mask], self.vectors[mask], self.crcs[mask], self.search)

    @cached_property
    def rows(self) -> DeltaView:
        """The rows with their partitions.

        Computed by whoever needs it first, a search or the Indexer; should two do so
        at once they compute the same, since assignment does not depend on who asks.
        """
        centroids, distances = self.search.assign(self.vectors)
        return DeltaView(self.vids, centroids, self.crcs, distances, self.vectors)


@dataclass(frozen=True)
class Manifest:
    """What one search looks at: taken in one step, never changing."""

    version: int
    segments: Segments
    delta: DeltaView
    batches: Sequence[Batch]

    @property
    def is_folded(self) -> bool:
        """Whether all rows are in segments."""
        return not self.batches and not len(self.delta)


@dataclass(eq=False)
class Generation:
    """A generation in memory. Changed on the event loop only, by the actors named."""

    table: TableId
    row: GenerationRow
    centroids: NDArray[np.float32]
    """float32 (nlist, d), in index space."""
    search: CentroidSearch
    """Replaced once, by the Indexer, when an HNSW graph is ready after an open."""
    segments: Segments
    """Owned by whoever folds or compacts, one at a time (`Indexer`, `Sweeper`, a build)."""
    delta: Delta
    """Owned by the Indexer; by its build until the swap."""
    batches: list[Batch] = field(default_factory=list)
    """Appended by the Committer's publishing, taken by the Indexer."""
    folded_rows: int = 0
    """Rows folded since the build, or since the open; owned as `segments`."""
    folded_distance: float = 0.0
    """The sum of their distances to their centroids."""
    version: int = 0
    """Counts the changes of `segments` that replaced some."""
    known_until: Vid = NO_VID
    """While it is not active: every row below is in it. Set by the swap, and by a catch-up."""
    held: int = 0
    """Snapshots and searches that may still ask this generation."""
    successor: "Generation | None" = None
    """The version that took this one's place by a reorganization. It has the segments that both
    name, so this one holds it: set in the Committer's turn, let go by the Sweeper."""
    pins: Counter[int] = field(default_factory=Counter)
    """Running searches by the version of the manifest they use."""

    def __repr__(self) -> str:
        return (
            f"<Generation {self.row.id} of index {self.row.index}, {self.row.state}: "
            f"nlist {self.row.nlist}, {self.rows_in_segments} rows in segments, "
            f"{len(self.delta)} in the delta, {self.lag_rows} waiting>"
        )

    @property
    def metric(self) -> Metric:
        """What it was built for."""
        return cast("Metric", self.row.metric)

    @property
    def codec(self) -> CodecName:
        """How its segments keep vectors."""
        return cast("CodecName", self.row.codec)

    @cached_property
    def centroids_crc(self) -> int:
        """By which its partitions are told from those before a reorganization, of the same id."""
        return blobs_crc(self.centroids.astype("<f4", copy=False).tobytes())

    @property
    def lag_rows(self) -> int:
        """Rows not yet filed."""
        return sum(len(batch) for batch in self.batches)

    @property
    def lag_bytes(self) -> int:
        """Bytes of vectors not yet filed."""
        return sum(batch.vectors.nbytes for batch in self.batches)

    @property
    def rows_in_segments(self) -> int:
        """Rows listed in segments, ended ones too."""
        return sum(ref.n for refs in self.segments.values() for ref in refs)

    def manifest(self) -> Manifest:
        """Pin what there is now; give it back with `unpin`."""
        self.pins[self.version] += 1
        self.held += 1
        return Manifest(self.version, self.segments, self.delta.view(), tuple(self.batches))

    def unpin(self, manifest: Manifest) -> None:
        """The search that used `manifest` is over."""
        self.held -= 1
        self.pins[manifest.version] -= 1
        if not self.pins[manifest.version]:
            del self.pins[manifest.version]

    def pinned_before(self, version: int) -> bool:
        """Whether a running search still uses a manifest older than `version`."""
        return any(used < version for used in self.pins)

    def file_if_first(self, batch: Batch) -> None:
        """Move the oldest batch, whose rows are assigned, into the delta.

        Nothing, if somebody has done so meanwhile: a rollback and the Indexer may both be at it.
        """
        if self.batches and self.batches[0] is batch:
            self.delta.append(batch.rows)
            del self.batches[0]

    def add_segments(self, refs: Sequence[SegmentRef], folded: int, row: GenerationRow) -> None:
        """A fold: the first `folded` rows of the delta are now in `refs`."""
        segments = dict(self.segments)
        for ref in refs:
            segments[ref.centroid] = (*segments.get(ref.centroid, ()), ref)
        self.segments = segments
        self.folded_rows += folded
        self.folded_distance += float(np.sqrt(self.delta.view().head(folded).distances).sum())
        self.delta = self.delta.without_first(folded)
        self.row = row

    def replace_segments(self, new: Segments) -> int:
        """A compaction: these partitions now have these segments. Returns the new version."""
        self.segments = {
            centroid: refs for centroid, refs in {**self.segments, **new}.items() if refs
        }
        self.version += 1
        return self.version

    def partition_sizes(self) -> NDArray[np.int64]:
        """Rows listed a partition, int64 (nlist,), ended ones and the delta's too."""
        sizes = np.zeros(self.row.nlist, np.int64)
        for centroid, refs in self.segments.items():
            sizes[centroid] = sum(ref.n for ref in refs)
        sizes += np.bincount(self.delta.view().centroids, minlength=self.row.nlist)
        return sizes
