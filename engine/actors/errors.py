"""What can go wrong with a build, and with an actor."""

from ...wal.errors import CentroiDBError, RetryError, StorageError


class JobCancelled(RetryError):
    """The build was cancelled, or what it built on was dropped; the index is as it was."""


class JobPaused(RetryError):
    """The build was paused, or its time was up: what it has done is kept; let it go on later."""

    @classmethod
    def of(cls, index: str) -> "JobPaused":
        """The build of this index is paused."""
        statement = f'ALTER INDEX "{index}" REBUILD RESUME'
        return cls(f"the build of index {index!r} is paused; it goes on with {statement}")


class BusyError(RetryError):
    """The index is being built or rebuilt already: wait for that job."""


class RebuildRejected(CentroiDBError):
    """The new generation did not pass its checks before the swap; the old one stays."""


class ActorDied(StorageError):
    """An actor met an error it did not expect and the database stopped: reopen it."""
