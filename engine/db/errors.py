"""Every error this library raises on purpose, in one place.

InputError      fix the call       NotFoundError DuplicateKeyError TransactionTooLarge
RetryError      try again          ConflictError SnapshotTooOldError LockedError DiskFullError
                                   BusyError JobCancelled JobPaused
StorageError    reopen or restore  NotADatabaseError FutureVersionError CorruptError
                                   ReadOnlyError CommitOutcomeUnknown ActorDied
ClosedError     open it again
RebuildRejected the old index stays
"""

from ...txn.errors import ConflictError, SnapshotTooOldError, TransactionTooLarge
from ...wal.errors import (
    CentroiDBError,
    ClosedError,
    CommitOutcomeUnknown,
    CorruptError,
    DiskFullError,
    DuplicateKeyError,
    FutureVersionError,
    InputError,
    LockedError,
    NotADatabaseError,
    NotFoundError,
    ReadOnlyError,
    RetryError,
    StorageError,
)
from ..actors.errors import ActorDied, BusyError, JobCancelled, JobPaused, RebuildRejected

__all__ = [
    "ActorDied",
    "BusyError",
    "CentroiDBError",
    "ClosedError",
    "CommitOutcomeUnknown",
    "ConflictError",
    "CorruptError",
    "DiskFullError",
    "DuplicateKeyError",
    "FutureVersionError",
    "InputError",
    "JobCancelled",
    "JobPaused",
    "LockedError",
    "NotADatabaseError",
    "NotFoundError",
    "ReadOnlyError",
    "RebuildRejected",
    "RetryError",
    "SnapshotTooOldError",
    "StorageError",
    "TransactionTooLarge",
]
