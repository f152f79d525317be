"""Snapshots: what a reader sees, and how long the past must be kept for it.

    lsn      5    6    7    8    9    10   11
             |         ^         ^         ^
             |         snapshot  snapshot  now
             |         (horizon)
    purged   <---- versions that ended at or before 7 may go

A snapshot is (LSN, high per table): a version is visible when it was born
(`vid < high`, since vids are handed out in LSN order) and had not ended
(`end > lsn`). The registry knows which LSNs are held; the horizon is the oldest
of them. A snapshot that outlives its age is let go: it raises from then on, and
holds the horizon back no longer.
"""

from dataclasses import dataclass, field

from ..wal.errors import ClosedError
from ..wal.types import Lsn
from .errors import SnapshotTooOldError
from .head import Heads


@dataclass(eq=False)
class Snapshot:
    """A held state. Comes from `SnapshotRegistry.open` only."""

    heads: Heads
    opened_at_s: float
    expired: bool = field(default=False)
    """Set by the registry; a read then raises SnapshotTooOldError."""
    closed: bool = field(default=False)
    """Set when it is let go; a read then raises ClosedError."""

    @property
    def lsn(self) -> Lsn:
        """The LSN it reads at."""
        return self.heads.lsn

    def require_fresh(self) -> None:
        """Raise SnapshotTooOldError when the registry has let it go, ClosedError after its end."""
        if self.closed:
            raise ClosedError(f"the snapshot at LSN {self.lsn} is closed: open a new one")
        if self.expired:
            raise SnapshotTooOldError.of(self.lsn)


class SnapshotRegistry:
    """The snapshots held in this process. Belongs to the event loop's thread."""

    def __init__(self) -> None:
        self._held: set[Snapshot] = set()

    def __len__(self) -> int:
        return len(self._held)

    def open(self, heads: Heads, now_s: float) -> Snapshot:
        """Hold the state `heads`."""
        snapshot = Snapshot(heads, now_s)
        self._held.add(snapshot)
        return snapshot

    def close(self, snapshot: Snapshot) -> None:
        """Let it go; twice is harmless."""
        snapshot.closed = True
        self._held.discard(snapshot)

    def horizon(self, now: Lsn) -> Lsn:
        """The oldest LSN that somebody may still read at; `now` when nobody holds one."""
        return min((snapshot.lsn for snapshot in self._held), default=now)

    def expire(self, opened_before_s: float) -> list[Snapshot]:
        """Let go of the snapshots opened before; returns them."""
        old = [snapshot for snapshot in self._held if snapshot.opened_at_s < opened_before_s]
        for snapshot in old:
            snapshot.expired = True
            self._held.discard(snapshot)
        return old
