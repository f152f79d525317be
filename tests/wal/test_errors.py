"""The edge at which sqlite3's and the system's errors become typed ones."""

import errno
import sqlite3

import pytest

from centroidb.wal import errors
from centroidb.wal.errors import (
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
    translated,
)


def sqlite_error(code: int) -> sqlite3.Error:
    """An error of sqlite3 with a code of SQLite's."""
    error = sqlite3.OperationalError("what SQLite said")
    error.sqlite_errorcode = code
    return error


BY_CODE = [
    (sqlite3.SQLITE_FULL, DiskFullError),
    (sqlite3.SQLITE_BUSY, LockedError),
    (sqlite3.SQLITE_BUSY_SNAPSHOT, LockedError),
    (sqlite3.SQLITE_LOCKED, LockedError),
    (sqlite3.SQLITE_READONLY, ReadOnlyError),
    (sqlite3.SQLITE_READONLY_ROLLBACK, ReadOnlyError),
    (sqlite3.SQLITE_CORRUPT, CorruptError),
    (sqlite3.SQLITE_CORRUPT_INDEX, CorruptError),
    (sqlite3.SQLITE_NOTADB, NotADatabaseError),
    (sqlite3.SQLITE_CANTOPEN, StorageError),
    (sqlite3.SQLITE_IOERR, StorageError),
    (sqlite3.SQLITE_IOERR_FSYNC, StorageError),
    (sqlite3.SQLITE_IOERR_WRITE, StorageError),
    (sqlite3.SQLITE_ERROR, StorageError),
]


@pytest.mark.parametrize(("code", "kind"), BY_CODE)
def test_sqlites_codes_become_types(code: int, kind: type[CentroiDBError]) -> None:
    """Each code of SQLite's, extended ones too, becomes one type that says what was done."""
    said = r"reading rows: .*what SQLite said"
    with pytest.raises(CentroiDBError, match=said) as caught, translated("reading rows"):
        raise sqlite_error(code)

    assert type(caught.value) is kind
    assert isinstance(caught.value.__cause__, sqlite3.Error)


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, DiskFullError),
        (errno.EDQUOT, DiskFullError),
        (errno.EACCES, StorageError),
        (errno.EIO, StorageError),
    ],
)
def test_system_errors_become_types(number: int, kind: type[CentroiDBError]) -> None:
    """A full disk or quota is DiskFullError, any other error of the system StorageError."""
    with pytest.raises(CentroiDBError, match="syncing") as caught, translated("syncing"):
        raise OSError(number, "what the system said")
    assert type(caught.value) is kind


def test_damaged_text_is_damage() -> None:
    """Stored text that is no UTF-8 is CorruptError, though sqlite3 gives it no code."""
    connection = sqlite3.connect(":memory:")
    with pytest.raises(CorruptError, match="stored text is damaged"), translated("reading"):
        connection.execute("SELECT CAST(x'ff' AS TEXT)").fetchone()
    connection.close()


def test_other_errors_pass() -> None:
    """What is neither sqlite3's nor the system's passes unchanged, typed errors too."""
    for error in (ZeroDivisionError(), ConflictLike("conflict")):
        with pytest.raises(type(error)) as caught, translated("reading"):
            raise error
        assert caught.value is error


class ConflictLike(RetryError):
    """A typed error of a higher layer."""


def test_each_error_is_of_a_kind_that_says_what_to_do() -> None:
    """Every error is one to fix, to retry, to reopen after or to open again, and of no two."""
    kinds = (InputError, RetryError, StorageError, ClosedError)
    found = [each for each in vars(errors).values() if isinstance(each, type)]
    typed = [each for each in found if issubclass(each, CentroiDBError)]
    assert {DuplicateKeyError, NotFoundError, CommitOutcomeUnknown, FutureVersionError} < set(typed)

    for error in set(typed) - {CentroiDBError}:
        assert sum(issubclass(error, kind) for kind in kinds) == 1, error
        assert error.__doc__


def test_errors_are_pythons_too() -> None:
    """Input errors are ValueErrors, and missing names LookupErrors, for code that expects those."""
    assert issubclass(InputError, ValueError)
    assert issubclass(NotFoundError, LookupError)
