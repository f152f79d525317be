"""An index in memory: what it was asked to be, and the generation that answers for it."""

from dataclasses import dataclass

from ...wal.catalog import IndexRow
from ..index.generation import Generation
from ..index.parameters import IndexParameters


@dataclass(eq=False)
class IndexState:
    """An index in memory."""

    row: IndexRow
    """Replaced by the swap and by DDL, in the Committer's turn."""
    active: Generation | None = None
    """The generation that searches use; replaced by the swap, in the Committer's turn."""
    reserved: bool = False
    """Set while whoever made it builds it; the Monitor keeps off meanwhile."""
    building: bool = False
    """Whether a build runs; set and cleared by it. One at a time an index."""

    @property
    def parameters(self) -> IndexParameters:
        """What the index was asked to be."""
        return IndexParameters.from_json(self.row.parameters)
