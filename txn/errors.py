"""What can go wrong with a transaction or a snapshot."""

from ..wal.errors import InputError, RetryError


class ConflictError(RetryError):
    """Somebody else committed first what this transaction wrote or read: run it again."""


class SnapshotTooOldError(RetryError):
    """The snapshot outlived `max_snapshot_age`: open a new one."""

    @classmethod
    def of(cls, lsn: int) -> "SnapshotTooOldError":
        """The error of the snapshot at this LSN."""
        return cls(f"the snapshot at LSN {lsn} outlived max_snapshot_age: open a new one")


class TransactionTooLarge(InputError):
    """The transaction buffers more than the limit: split it, or write outside of one."""
