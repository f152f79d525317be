"""An index in memory: what it was asked to be, and the generation that answers for it."""

from dataclasses import dataclass, field

from ...txn.snapshot import Snapshot
from ...wal.catalog import GenerationRow, IndexRow, JobRow
from ..index.generation import Generation
from ..index.health import Measured
from ..index.parameters import IndexParameters


@dataclass(frozen=True, eq=False)
class Unfinished:
    """A build that was cut short and can go on."""

    row: GenerationRow
    """The generation as it was when the build was cut short."""
    job: JobRow
    snapshot: Snapshot
    """S0: held, so that its rows are not purged."""
    since_s: float
    """When it was cut short, or found at open, by trio's clock."""


@dataclass(eq=False)
class IndexState:
    """An index in memory."""

    row: IndexRow
    """Replaced by the swap and by DDL, in the Committer's turn."""
    active: Generation | None = None
    """The generation that searches use; replaced by the swap, in the Committer's turn."""
    kept: list[Generation] = field(default_factory=list)
    """Those it replaced that a rollback can bring back, oldest first; changed by the swap, by
    DDL in the Committer's turn, and by the Sweeper, which lets old ones go."""
    measured: Measured | None = None
    """What the Monitor measured last, perhaps of a generation before; replaced by it."""
    reserved: bool = False
    """Set while whoever made it builds it; the Monitor keeps off meanwhile."""
    building: bool = False
    """Whether a build or a reorganization runs; set and cleared by it. One at a time an index."""

    unfinished: Unfinished | None = None
    """Set at open and by a build that is cut short; taken by the one that goes on, by a drop,
    and by the Sweeper when it is too old."""

    @property
    def parameters(self) -> IndexParameters:
        """What the index was asked to be."""
        return IndexParameters.from_json(self.row.parameters)
