"""Files and folders that may not be read or written: what each open says."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from centroidb import open_db
from tests.errors.harness import vectors
from tests.wal.files import contents

NOBODY = 65_534

OPEN = """
import os, sys
import numpy as np, trio
from centroidb import CentroiDBError, open_db

path, how, user = sys.argv[1:]

async def main():
    async with open_db(":memory:"):
        pass  # what is imported at the first open, imported
    if os.getuid() == 0:
        os.setuid(int(user))
    try:
        async with open_db(path, read_only=how == "read") as db:
            table = await db.table("t")
            found = (await table.search(np.ones(3), k=1, exact=True)).ids
            print("opened", await table.count(), found, (await db.check()).errors)
    except CentroiDBError as error:
        print(type(error).__name__, str(error))

trio.run(main)
"""


def opened(path: Path, how: str) -> str:
    """What somebody without special rights is told when he opens the file."""
    command = [sys.executable, "-c", OPEN, str(path), how, str(NOBODY)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


@pytest.fixture
def path() -> Iterator[Path]:
    """A closed database in a folder that anybody may enter."""

    async def make(path: Path) -> None:
        async with open_db(path) as db:
            table = await db.create_table("t", dim=3)
            await table.upsert(range(5), vectors(5))

    with tempfile.TemporaryDirectory(prefix="centroidb-rights-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        trio.run(make, folder / "a.db")
        yield folder / "a.db"
        folder.chmod(0o755)


@pytest.fixture
def crashed(path: Path) -> Path:
    """The same as a crash leaves it: in WAL mode, with a WAL beside it."""
    code = """
import os, sys, trio
import numpy as np
from centroidb import open_db

async def main():
    async with open_db(sys.argv[1]) as db:
        await (await db.table("t")).upsert(99, np.ones(3))
        os._exit(9)

trio.run(main)
"""
    killed = subprocess.run([sys.executable, "-c", code, str(path)], timeout=60)
    assert killed.returncode == 9
    for each in path.parent.iterdir():
        each.chmod(0o666)
    return path


def test_a_file_that_may_not_be_written(path: Path) -> None:
    """It is ReadOnlyError, which says how to open it instead, and that works."""
    path.chmod(0o444)
    before = contents(path)

    said = opened(path, "write")
    assert said.startswith("ReadOnlyError")
    assert "no right to write to it; open with read_only=True" in said
    assert opened(path, "read").startswith("opened 5")
    assert contents(path) == before


def test_a_folder_that_may_not_be_written(path: Path) -> None:
    """A file of which SQLite can not make a WAL is refused, named, and can be read."""
    path.chmod(0o666)
    path.parent.chmod(0o555)

    said = opened(path, "write")
    assert said.startswith("ReadOnlyError")
    assert f"{path}: no right to write to its folder" in said
    assert opened(path, "read").startswith("opened 5")


def test_a_file_that_may_not_be_read(path: Path) -> None:
    """It is StorageError, with the path, for writers and readers."""
    path.chmod(0o000)

    for how in ("write", "read"):
        said = opened(path, how)
        assert said.startswith("StorageError")
        assert str(path) in said
        assert "Permission denied" in said


def test_a_folder_that_may_not_be_entered(path: Path) -> None:
    """It is StorageError, not a missing file, for writers and readers."""
    path.parent.chmod(0o000)

    for how in ("write", "read"):
        said = opened(path, how)
        assert said.startswith("StorageError")
        assert "Permission denied" in said


def test_a_new_file_in_a_folder_that_may_not_be_written(path: Path) -> None:
    """It is StorageError, with the path, and nothing is made."""
    new = path.parent / "new.db"
    path.parent.chmod(0o555)

    said = opened(new, "write")
    assert said.startswith("StorageError")
    assert str(new) in said
    assert "Permission denied" in said
    assert not new.exists()


def test_what_a_crash_left_where_nobody_may_write(crashed: Path) -> None:
    """With its WAL beside it in a closed folder the file is refused, not read without its WAL."""
    Path(f"{crashed}-shm").unlink(missing_ok=True)
    crashed.parent.chmod(0o555)
    before = contents(crashed)

    said = opened(crashed, "read")
    assert said.startswith("StorageError")
    assert "can not be opened" in said
    assert contents(crashed) == before

    crashed.parent.chmod(0o777)
    assert opened(crashed, "read").startswith("opened 6")
    assert contents(crashed) == before


def test_a_file_in_wal_mode_on_read_only_media(crashed: Path) -> None:
    """In WAL mode but without a WAL it is read as it is, where nothing may be made beside it."""
    Path(f"{crashed}-wal").unlink()
    Path(f"{crashed}-shm").unlink(missing_ok=True)
    assert crashed.read_bytes()[18:20] == b"\2\2"
    crashed.parent.chmod(0o555)

    assert opened(crashed, "read").startswith("opened 5")
