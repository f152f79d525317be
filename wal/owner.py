"""One owner a file: the lock that lets one process write, and says who it is.

The lock is `flock` on the database file itself, taken before the first
connection and given back after the last. flock and SQLite's own POSIX locks do
not disturb each other, and the kernel frees both when a process dies.

NB: closing *any* descriptor of a file drops *all* POSIX locks that the process
holds on it; SQLite would then believe that nobody has the database open, and a
stranger's clean close would delete a WAL in use. So each file has one
descriptor per process, however often it is opened, and it is closed last.
"""

import fcntl
import os
import threading
from dataclasses import dataclass

from .errors import LockedError, StorageError

FileId = tuple[int, int]


@dataclass
class _OpenFile:
    """A file this process has open; guarded by `_guard`."""

    descriptor: int
    users: int = 0
    owned: bool = False
    """Whether one of the users writes."""


_guard = threading.Lock()
"""Guards `_open_files` and what is in it."""
_open_files: dict[FileId, _OpenFile] = {}


def _file_id(path: str) -> FileId:
    status = os.stat(path)
    return status.st_dev, status.st_ino


class FileHold:
    """A user's share in the one descriptor of a file. `owner` says whether it may write."""

    def __init__(self, path: str, file_id: FileId, descriptor: int, owner: bool) -> None:
        self.path = path
        self.file_id = file_id
        self.descriptor = descriptor
        self.owner = owner
        self._released = False

    def release(self) -> None:
        """Give the share back; the last one out closes the descriptor. Twice is harmless."""
        with _guard:
            if self._released:
                return
            self._released = True
            entry = _open_files[self.file_id]
            entry.users -= 1
            if self.owner:
                entry.owned = False
                fcntl.flock(entry.descriptor, fcntl.LOCK_UN)
            if entry.users == 0:
                os.close(entry.descriptor)
                del _open_files[self.file_id]

    def has_owner(self) -> bool:
        """Whether somebody, here or in another process, has the file open for writing."""
        with _guard:
            entry = _open_files[self.file_id]
            if entry.owned or not _try_lock(entry.descriptor):
                return True
            fcntl.flock(entry.descriptor, fcntl.LOCK_UN)
            return False

    def still_there(self) -> bool:
        """Whether the path still leads to this very file."""
        try:
            return _file_id(self.path) == self.file_id
        except OSError:
            return False


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def hold(path: str, *, owner: bool) -> FileHold:
    """Take a share in the file at `path`; as its `owner`, or raise LockedError."""
    with _guard:
        file_id = _file_id(path)
        entry = _open_files.get(file_id)
        if entry is None:
            entry = _OpenFile(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
            if _file_id(path) != file_id:
                os.close(entry.descriptor)
                raise StorageError(f"{path}: replaced by another file while it was opened")
            _open_files[file_id] = entry
        entry.users += 1
        taken = FileHold(path, file_id, entry.descriptor, owner=False)
        locked = not owner or (not entry.owned and _try_lock(entry.descriptor))
        if locked and owner:
            taken.owner = entry.owned = True
    if not locked:
        taken.release()
        raise LockedError(f"{path}: open for writing elsewhere")
    return taken
