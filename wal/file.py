"""The file: created whole, opened by one owner, recovered, checkpointed, closed as one file.

    create      made complete beside its place, then moved into it: a crash leaves
                no half-made database
    open        lock -> header -> connection -> schema -> recovery; nothing is
                written before all of them have agreed
    recovery    SQLite plays back its WAL; then the log's chain is verified and
                what a crash cut short (builds, drops) is cleared away
    close       readers first, checkpoint, rollback mode: one file that opens from
                read-only media; where a foreign reader is in the way, the WAL stays

What the media must do: honour fsync, leave the bytes around a write alone, and
give POSIX locks (a local file system).
"""

import contextlib
import fcntl
import logging
import os
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from . import log, meta, schema
from .connection import (
    Access,
    Durability,
    close_untouched,
    connect,
    make_writer,
    open_reader,
)
from .errors import (
    CentroiDBError,
    CorruptError,
    InputError,
    LockedError,
    NotADatabaseError,
    ReadOnlyError,
    StorageError,
    translated,
)
from .header import read_header, refuse_strange_wal, refuse_wal, verify_size
from .owner import FileHold, hold

T = TypeVar("T")

Proof = Callable[[sqlite3.Connection], None]
"""Raises CorruptError for a file that is not whole."""

logger = logging.getLogger(__name__)


def no_proof(_: sqlite3.Connection) -> None:
    """The `Proof` that asks for nothing more than every open does."""


def checked_path(path: str | os.PathLike[str]) -> str:
    """An absolute path, or InputError for one that SQLite would take for something else."""
    text = os.fspath(path)
    if not isinstance(text, str) or not text or "\0" in text:
        raise InputError(f"path: expected the name of a file, got {text!r}")
    if text.startswith("file:"):
        raise InputError(f"path: expected the name of a file, got a URI: {text!r}")
    if os.path.isdir(text):
        raise InputError(f"path: {text!r} is a folder, expected a file")
    if os.path.exists(text) and not os.path.isfile(text):
        raise InputError(f"path: {text!r} is a device or a pipe, expected a file")
    return os.path.abspath(text)


def create(path: str) -> None:
    """Make an empty database at `path`; if somebody else makes it first, theirs stays.

    `path` may name an empty file, which is replaced.
    """
    beside = f"{path}.creating"
    with translated(f"creating {path}"), _locked_folder(path) as folder:
        if os.path.exists(path) and os.path.getsize(path):
            return
        with contextlib.suppress(FileNotFoundError):
            os.unlink(beside)  # a crash has left it
        _fill(beside)
        os.replace(beside, path)
        os.fsync(folder)


@contextlib.contextmanager
def _locked_folder(path: str) -> Iterator[int]:
    """One creation at a time in the folder of `path`; yields the folder's descriptor.

    NB: the lock is not on the new file, whose descriptors must not be closed (see `owner`).
    """
    descriptor = os.open(os.path.dirname(path), os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def _fill(path: str) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
    connection = connect(path, "rw")
    try:
        # These freeze with the first table, so they come before it.
        connection.execute(f"PRAGMA page_size = {schema.PAGE_SIZE_BYTES}")
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
        schema.migrate(connection)
        meta.initialise(connection)
    finally:
        connection.close()


def _sync_folder(path: str) -> None:
    descriptor = os.open(os.path.dirname(path), os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@dataclass(frozen=True)
class Recovered:
    """What opening found."""

    clean: bool
    """Whether the last owner closed the file."""
    records: int
    """Log records whose chain was verified."""


class DatabaseFile:
    """An open file: the hold on it, and the one connection that writes.

    The writer belongs to the Committer, but for opening and closing.
    """

    def __init__(
        self, path: str, held: FileHold, writer: sqlite3.Connection, folder: Path | None
    ) -> None:
        self.path = path
        self.hold = held
        self.writer = writer
        self.recovered = Recovered(clean=True, records=0)
        self._wal_inode: int | None = None
        """That of SQLite's WAL, once seen; it stays the same while the file is open."""
        self._folder = folder
        """The private folder of a `:memory:` database."""

    def open_reader(self) -> sqlite3.Connection:
        """One more connection that only reads; StorageError when the file is gone from its path."""
        connection = open_reader(self.path)
        try:
            self.require_in_place()  # what lies there now may be another database
        except BaseException:
            connection.close()
            raise
        return connection

    def sqlite_wal_bytes(self) -> int:
        """The size of SQLite's own WAL now."""
        try:
            return os.stat(f"{self.path}-wal").st_size
        except FileNotFoundError:
            return 0

    def file_bytes(self) -> int:
        """The size of the database file now, without SQLite's WAL."""
        return os.stat(self.path).st_size

    def backfill(self) -> None:
        """Copy what the WAL holds into the file, beside readers; it can not be emptied then."""
        with translated("checkpoint"):
            self.writer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()

    def checkpoint(self) -> bool:
        """Bring the WAL into the file and empty it; False when a foreign reader was in the way.

        Call it with the pool drained; after `backfill` little is left to do.
        StorageError when the file is no longer at its path.
        """
        self.require_in_place()
        with translated("checkpoint"):
            self.writer.execute("PRAGMA busy_timeout = 0").fetchall()
            busy, _, _ = self.writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            self.writer.execute("PRAGMA busy_timeout = 5000").fetchall()
        return not busy

    def require_in_place(self) -> None:
        """Raise StorageError when the file, or its WAL, is no longer at its path.

        SQLite would not notice: it writes on into files that nobody can find any more.
        """
        if not self.hold.still_there() or not self._wal_still_there():
            raise StorageError(f"{self.path}: the file was moved or deleted while it was open")

    def _wal_still_there(self) -> bool:
        try:
            inode = os.stat(f"{self.path}-wal").st_ino
        except FileNotFoundError:
            return False
        self._wal_inode = self._wal_inode or inode
        return inode == self._wal_inode

    def close(self) -> bool:
        """Close for good; True when one file is left, in rollback mode."""
        single, reason = False, "another program has it open"
        try:
            self._mark_clean()
            single = self.checkpoint() and self._leave_wal_mode()
        except (sqlite3.Error, CentroiDBError) as error:
            reason = str(error)
        finally:
            self.writer.close()
            self._give_back()
        if not single:
            logger.warning("%s: closed, but not as one file: %s", self.path, reason)
        return single

    def _mark_clean(self) -> None:
        self.writer.execute("BEGIN IMMEDIATE")
        meta.put(self.writer, "clean", 1)
        meta.put_owner(self.writer, None)
        self.writer.execute("COMMIT")

    def _leave_wal_mode(self) -> bool:
        (mode,) = self.writer.execute("PRAGMA journal_mode = DELETE").fetchone()
        return bool(mode == "delete")

    def abandon(self) -> None:
        """Close without writing, as a crash would leave it (but locks and folder go)."""
        close_untouched(self.writer, self.path)
        self._give_back()

    def _give_back(self) -> None:
        self.hold.release()
        if self._folder is not None:
            for name in self._folder.iterdir():
                name.unlink()
            self._folder.rmdir()


def open_file(
    path: str,
    *,
    create_missing: bool,
    durability: Durability,
    recover: Callable[[sqlite3.Connection], None],
    prove: Proof = no_proof,
) -> DatabaseFile:
    """Open for writing, as the one owner. `:memory:` is a file in a private folder.

    `prove` runs before anything is written to a file of this format.
    `recover` runs in the transaction in which recovery ends, for what higher layers know.
    """
    folder = None
    if path == ":memory:":
        folder = Path(tempfile.mkdtemp(prefix="centroidb-"))
        path, create_missing, durability = str(folder / "memory.db"), True, "none"
    path = checked_path(path)
    _make_if_missing(path, create_missing)
    held = _own(path)
    try:
        header = read_header(held.descriptor, path)
        refuse_strange_wal(header, path)
        verify_size(held.descriptor, header, path)
        writer = _open_writer(path, durability, prove)
    except BaseException:
        held.release()
        raise
    file = DatabaseFile(path, held, writer, folder)
    try:
        file.recovered = _recover(writer, recover)
    except BaseException:
        file.abandon()
        raise
    return file


def _make_if_missing(path: str, create_missing: bool) -> None:
    size = _size_of(path)
    if size is None and not create_missing:
        raise NotADatabaseError(f"{path}: there is no such file")
    if size == 0 and not create_missing:
        raise NotADatabaseError(f"{path}: not a CentroiDB database (it is empty)")
    if size is None and not os.path.isdir(os.path.dirname(path)):
        raise InputError(f"path: the folder of {path!r} does not exist")
    if not size:
        with translated(f"opening {path}"):
            refuse_wal(path, "there is no database")
        create(path)


def _size_of(path: str) -> int | None:
    """The bytes of the file; None when there is none."""
    with translated(f"opening {path}"):
        try:
            return os.stat(path).st_size
        except FileNotFoundError:
            return None


def _own(path: str) -> FileHold:
    try:
        with translated(f"opening {path}"):
            return hold(path, owner=True)
    except LockedError as error:
        raise LockedError(f"{error} ({_owner_of(path)}); read_only=True works beside it") from None


def _owner_of(path: str) -> str:
    with contextlib.suppress(StorageError, LockedError), translated(f"opening {path}"):
        connection = open_reader(path, "ro")
        try:
            return f"by {meta.get_owner(connection) or 'a process that has just opened it'}"
        finally:
            connection.close()
    return "its owner could not be read"


def _open_writer(path: str, durability: Durability, prove: Proof) -> sqlite3.Connection:
    if not os.access(path, os.W_OK):
        raise ReadOnlyError(f"{path}: no right to write to it; open with read_only=True")
    if not os.access(os.path.dirname(path), os.W_OK):
        raise ReadOnlyError(
            f"{path}: no right to write to its folder, where its WAL goes; open with read_only=True"
        )
    writer = connect(path, "rw")
    try:
        with translated(f"opening {path}"):
            (version,) = writer.execute("PRAGMA user_version").fetchone()
            if version < schema.FORMAT:
                schema.migrate(writer)
            schema.verify_schema(writer)
            broken = log.verify(writer)
        if broken:
            raise CorruptError(f"{path}: {'; '.join(broken[:3])}")
        prove(writer)
        make_writer(writer, durability)
    except BaseException:
        close_untouched(writer, path)
        raise
    return writer


def _recover(
    writer: sqlite3.Connection, recover: Callable[[sqlite3.Connection], None]
) -> Recovered:
    with translated("recovery"):
        clean = bool(meta.get_int(writer, "clean"))
        (records,) = writer.execute("SELECT count(*) FROM wal").fetchone()
        writer.execute("BEGIN IMMEDIATE")
        try:
            recover(writer)
            meta.put(writer, "clean", 0)
            meta.put_owner(writer, meta.Owner.this_process())
            writer.execute("COMMIT")
        except BaseException:
            writer.rollback()  # unless the error has ended the transaction
            raise
    return Recovered(clean=clean, records=records)


class ForeignFile:
    """A file opened read-only, beside its owner or without one."""

    def __init__(self, path: str, prove: Proof = no_proof) -> None:
        self.path = checked_path(path)
        if _size_of(self.path) is None:
            raise NotADatabaseError(f"{self.path}: there is no such file")
        with translated(f"opening {self.path}"):
            self.hold = hold(self.path, owner=False)
        try:
            header = read_header(self.hold.descriptor, self.path)
            if not self.hold.has_owner():  # who may switch to WAL at this moment
                refuse_strange_wal(header, self.path)
            verify_size(self.hold.descriptor, header, self.path)
            if header.user_version < schema.FORMAT:
                raise ReadOnlyError(
                    f"{self.path}: format {header.user_version}, expected {schema.FORMAT}: "
                    "open it for writing once, that migrates it"
                )
            self.access = self._find_access()
            if prove is not no_proof:
                with contextlib.closing(self.open_reader()) as connection:
                    prove(connection)
        except BaseException:
            self.hold.release()
            raise

    def _find_access(self) -> Access:
        """`ro`; `immutable` only for a file in WAL mode that nobody writes and no WAL is beside."""
        try:
            self._verified("ro")
            return "ro"
        except StorageError:
            if os.path.exists(f"{self.path}-wal") or self.hold.has_owner():
                raise
            self._verified("immutable")
            return "immutable"

    def _verified(self, access: Access) -> None:
        connection = open_reader(self.path, access)
        try:
            with translated(f"opening {self.path}"):
                schema.verify_schema(connection)
        finally:
            connection.close()

    def open_reader(self) -> sqlite3.Connection:
        """A connection of its own for one call or snapshot."""
        return open_reader(self.path, self.access)

    def close(self) -> None:
        """Give the file back."""
        self.hold.release()


def backup(path: str, target: str) -> None:
    """Write a compact copy of the committed state to `target`, which must not exist.

    One read transaction on a connection of its own: the copy is one committed state.
    """
    target = checked_path(target)
    if os.path.exists(target):
        raise InputError(f"backup: {target!r} exists already")
    with translated(f"backup to {target}"):
        refuse_wal(target, "there is no database")
    beside = f"{target}.partial-{os.getpid()}-{time.monotonic_ns()}"
    connection = connect(path, "ro")  # its close must not checkpoint what a dead owner left
    try:
        with translated(f"backup to {target}"):
            connection.execute("VACUUM INTO ?", (beside,))
            _sync_file(beside)
            os.link(beside, target)
            _sync_folder(target)
    finally:
        connection.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(beside)


def _sync_file(path: str) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
