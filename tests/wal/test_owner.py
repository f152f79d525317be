"""The owner lock: one writer a file, in this process and among processes."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from centroidb.wal.errors import LockedError, StorageError
from centroidb.wal.file import ForeignFile, create
from centroidb.wal.owner import hold
from tests.wal.files import create_table, keys_in, open_checked, opened, put, run_python

OPEN = """
import sys
from centroidb.wal.errors import CentroiDBError
from centroidb.wal.file import open_file
try:
    file = open_file(sys.argv[1], create_missing=True, durability="full", recover=lambda _: None)
except CentroiDBError as error:
    print(type(error).__name__, error)
else:
    print("opened")
    file.close()
"""

HOLD = """
import sys
from centroidb.wal.owner import hold
taken = hold(sys.argv[1], owner=True)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A new database, closed."""
    made = str(tmp_path / "a.db")
    create(made)
    return made


def is_open(descriptor: int) -> bool:
    """Whether the descriptor is open in this process."""
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def test_one_owner_in_a_process(path: str) -> None:
    """A second owner in the same process is refused until the first has let go."""
    first = hold(path, owner=True)
    with pytest.raises(LockedError, match="open for writing elsewhere"):
        hold(path, owner=True)
    first.release()

    hold(path, owner=True).release()


def test_one_descriptor_for_all_users(path: str) -> None:
    """All users of a file share one descriptor, which is closed when the last one goes."""
    owner, reader = hold(path, owner=True), hold(path, owner=False)
    assert owner.descriptor == reader.descriptor

    owner.release()
    assert is_open(reader.descriptor)
    reader.release()
    assert not is_open(reader.descriptor)


def test_a_refused_owner_takes_nothing(path: str) -> None:
    """The share of a refused owner is given back, so the last release closes the descriptor."""
    owner = hold(path, owner=True)
    with pytest.raises(LockedError):
        hold(path, owner=True)
    owner.release()

    assert not is_open(owner.descriptor)


def test_releasing_twice_is_harmless(path: str) -> None:
    """A second release does not take somebody else's share."""
    first, second = hold(path, owner=False), hold(path, owner=False)
    first.release()
    first.release()

    assert is_open(second.descriptor)
    second.release()


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_another_name_is_the_same_file(path: str, link: object) -> None:
    """A symbolic or hard link to an owned file is refused as the file is."""
    other = f"{path}.other"
    (os.symlink if link is os.symlink else os.link)(path, other)
    owner = hold(path, owner=True)

    with pytest.raises(LockedError):
        hold(other, owner=True)
    owner.release()


def test_a_reader_knows_whether_there_is_an_owner(path: str) -> None:
    """Asking for the owner finds one in this process and one in another, and none otherwise."""
    reader = hold(path, owner=False)
    assert not reader.has_owner()
    owner = hold(path, owner=True)
    assert reader.has_owner()
    owner.release()
    assert not reader.has_owner()

    with subprocess.Popen(
        [sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        assert reader.has_owner()
        other.send_signal(signal.SIGKILL)
    assert not reader.has_owner()
    reader.release()


def test_a_second_process_is_refused_with_the_owner_named(tmp_path: Path) -> None:
    """Another process that wants to write gets LockedError with pid, host and time of the owner."""
    with open_checked(tmp_path / "a.db"):
        said = run_python(OPEN, str(tmp_path / "a.db")).stdout

    assert said.startswith("LockedError")
    assert f"by process {os.getpid()} on {socket.gethostname()}, since 20" in said
    assert "read_only=True works beside it" in said


def test_this_process_is_refused_with_itself_named(tmp_path: Path) -> None:
    """A second open for writing in the owning process is refused, and disturbs nothing."""
    with open_checked(tmp_path / "a.db") as file:
        table = create_table(file.writer)
        with pytest.raises(LockedError, match=rf"by process {os.getpid()} on"):
            opened(tmp_path / "a.db")
        put(file.writer, table, 1)


def test_the_lock_dies_with_its_process(tmp_path: Path) -> None:
    """The file of a killed owner can be opened at once, and its owner is no longer named."""
    path = str(tmp_path / "a.db")
    code = OPEN.replace('print("opened")', "import os; os._exit(9)")
    assert run_python(code, path).returncode == 9

    with open_checked(path) as file:
        (owner,) = file.writer.execute("SELECT value FROM meta WHERE key = 'owner'").fetchone()
        assert f'"pid": {os.getpid()}' in owner
        assert not file.recovered.clean


def test_processes_that_open_at_once_get_it_one_after_the_other(tmp_path: Path) -> None:
    """Many processes that create and open the same file at once: owner or LockedError, no more."""
    path = str(tmp_path / "a.db")
    command = [sys.executable, "-c", OPEN, path]
    others = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    said = [other.communicate(timeout=60) for other in others]

    assert all(re.match("opened|LockedError", out) for out, _ in said), said
    assert any(out == "opened\n" for out, _ in said)
    with open_checked(path):
        pass


def test_a_moved_file_is_noticed(path: str) -> None:
    """A file that was moved, deleted or replaced is no longer there for its holder."""
    held = hold(path, owner=True)
    assert held.still_there()
    Path(path).rename(f"{path}.moved")
    assert not held.still_there()
    create(path)
    assert not held.still_there()
    held.release()


def test_a_checkpoint_of_a_deleted_file_fails(tmp_path: Path) -> None:
    """A checkpoint into a file that nobody can find any more says so."""
    file = opened(tmp_path / "a.db")
    (tmp_path / "a.db").unlink()

    with pytest.raises(StorageError, match="moved or deleted while it was open"):
        file.checkpoint()
    file.abandon()


def test_foreign_readers_do_not_own(path: str) -> None:
    """Read-only opens share a file with each other and leave it free for an owner."""
    readers = [ForeignFile(path) for _ in range(2)]
    with open_checked(path) as file:
        assert keys_in(file.writer, create_table(file.writer)) == []
        for reader in readers:
            reader.close()
