"""What can go wrong with the file, and what the caller should do about it.

    InputError      fix the call; nothing was changed
    RetryError      nothing is wrong: try again, perhaps after making room
    StorageError    the file or the disk: reopen, or restore a copy
    ClosedError     open the database again

sqlite3 and OS errors become these at one edge: `translated`.
"""

import errno
import sqlite3
from types import TracebackType


class CentroiDBError(Exception):
    """The root: catches whatever this library raises on purpose."""

    written: object = None
    """What a write of many commits had done before this error; see `Table.upsert`."""


class InputError(CentroiDBError, ValueError):
    """The call was wrong: fix it. Nothing was changed."""


class NotFoundError(InputError, LookupError):
    """A table, index or key that is not there; the text names those that are alike."""


class DuplicateKeyError(InputError):
    """`insert` met a key that is there already: use `upsert`, or another key."""


class RetryError(CentroiDBError):
    """Nothing was changed and nothing is broken: the same call may succeed later."""


class LockedError(RetryError):
    """Another owner has the file: wait for it, or open with `read_only=True`."""


class DiskFullError(RetryError):
    """No room for the write: make room and write again. Reads go on."""


class ClosedError(CentroiDBError):
    """The database is closed, or closed while the call ran: open it again."""


class StorageError(CentroiDBError):
    """The disk or the file failed: reopen; if that fails too, restore a backup."""


class NotADatabaseError(StorageError):
    """The file is not a CentroiDB database; it was left as it is."""


class FutureVersionError(StorageError):
    """A newer CentroiDB wrote the file: install that; the file was left as it is."""


class CorruptError(StorageError):
    """Stored bytes do not match their checksum or their schema: restore a backup."""


class ReadOnlyError(StorageError):
    """The file, its folder or this connection can not be written to."""


class CommitOutcomeUnknown(StorageError):
    """A commit failed at the disk: it may or may not be there after reopening.

    The database takes no more writes; reopen it, and ask with the idempotency key.
    """


_BY_CODE: dict[int, tuple[type[CentroiDBError], str]] = {
    sqlite3.SQLITE_FULL: (DiskFullError, "the disk is full"),
    sqlite3.SQLITE_BUSY: (LockedError, "another program holds a lock on the file"),
    sqlite3.SQLITE_LOCKED: (LockedError, "another program holds a lock on the file"),
    sqlite3.SQLITE_READONLY: (ReadOnlyError, "the file can not be written to"),
    sqlite3.SQLITE_CORRUPT: (CorruptError, "the file is damaged"),
    sqlite3.SQLITE_NOTADB: (NotADatabaseError, "the file is not a database"),
    sqlite3.SQLITE_CANTOPEN: (StorageError, "the file, or one beside it, can not be opened"),
    sqlite3.SQLITE_IOERR: (StorageError, "the disk reported an error"),
}

_PRIMARY_CODE_MASK = 0xFF
_NOT_TEXT = "Could not decode to UTF-8"
"""What the sqlite3 module itself says, without a code."""


def translate(error: BaseException, what: str) -> CentroiDBError | None:
    """The typed error for a sqlite3 or OS error met while doing `what`; None if it is neither."""
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", None) or 0
        kind, words = _BY_CODE.get(code & _PRIMARY_CODE_MASK, (StorageError, "SQLite failed"))
        if _NOT_TEXT in str(error):
            kind, words = CorruptError, "stored text is damaged"
        return kind(f"{what}: {words} ({error})")
    if isinstance(error, OSError):
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        return (DiskFullError if full else StorageError)(f"{what}: {error}")
    return None


class translated:  # noqa: N801 - it is used as a function is
    """The one edge: sqlite3 and OS errors leave it as this module's, with `what` in front.

    A class, and no generator: it is around every read, some of which take 20 us in all.
    """

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        """Nothing is done before the body."""

    def __exit__(
        self,
        _: type[BaseException] | None,
        error: BaseException | None,
        __: TracebackType | None,
    ) -> None:
        if error is None:
            return
        typed = translate(error, self._what)
        if isinstance(error, UnicodeDecodeError):  # SQLite's own message, of a damaged schema
            typed = CorruptError(f"{self._what}: stored text is damaged ({error})")
        elif isinstance(error, MemoryError):
            typed = StorageError(f"{self._what}: what is stored does not fit in memory")
        if typed is not None:
            raise typed from error
