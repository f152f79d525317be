"""A database file, or its WAL, that is deleted, moved or replaced while it is open."""

import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from centroidb import StorageError, open_db
from tests.errors.harness import LIMITS, filled_db


def delete(path: Path) -> None:
    """Delete the file."""
    path.unlink()


def move(path: Path) -> None:
    """Move the file away."""
    path.rename(path.with_name("moved.db"))


def replace(path: Path) -> None:
    """Put a copy in its place, as an editor or a sync tool does."""
    copy = path.with_name("copy.db")
    copy.write_bytes(b"something else" * 2_000)
    copy.rename(path)


def delete_wal(path: Path) -> None:
    """Delete SQLite's WAL."""
    Path(f"{path}-wal").unlink()


@pytest.mark.parametrize("harm", [delete, move, replace, delete_wal])
async def test_writes_into_a_file_that_is_gone_are_refused(
    tmp_path: Path, harm: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    """The next write is StorageError, not an acknowledgement into nowhere; the close warns."""
    path = tmp_path / "a.db"
    async with filled_db(path):
        pass
    with caplog.at_level(logging.WARNING):
        async with open_db(path, limits=LIMITS) as db:
            table = await db.table("ints")
            await table.upsert(100, [1, 2, 3])
            harm(path)

            for _ in range(2):
                with pytest.raises(StorageError, match="moved or deleted while it was open"):
                    await table.upsert(101, [1, 2, 3])
            with suppress(StorageError):
                assert (await table.get(100)).id == 100
                assert (await table.search([1, 2, 3], k=1)).ids == [100]
    assert "closed, but not as one file" in caplog.text


async def test_another_database_in_its_place_is_not_read(tmp_path: Path) -> None:
    """With another database at its path, reads answer from the old one or are StorageError."""
    path, other = tmp_path / "a.db", tmp_path / "b.db"
    async with filled_db(path):
        pass
    async with filled_db(other) as db:
        await (await db.table("ints")).update_payloads(range(60), ["other"] * 60)
    async with open_db(path, limits=LIMITS) as db:
        table = await db.table("ints")
        other.rename(path)

        for key in range(10):
            with suppress(StorageError):
                assert (await table.get(key)).payload == {"n": key}
        with pytest.raises(StorageError, match="moved or deleted"):
            await table.upsert(100, [1, 2, 3])
        with pytest.raises(StorageError, match="moved or deleted"):
            await db.check()

    # The old one's WAL lies beside the other now: opened with it, it would be a mixture.
    before = path.read_bytes()
    with pytest.raises(StorageError, match="a WAL lies beside it"):
        async with open_db(path):
            raise AssertionError("not reached")
    assert path.read_bytes() == before
    Path(f"{path}-wal").unlink()
    async with open_db(path) as db:
        assert (await (await db.table("ints")).get(5)).payload == "other"
        assert (await db.check()).errors == ()


async def test_a_reader_of_a_file_that_is_gone(tmp_path: Path) -> None:
    """Who has it open read-only goes on reading what was there."""
    path = tmp_path / "a.db"
    async with filled_db(path):
        pass
    async with open_db(path, read_only=True) as db:
        table = await db.table("ints")
        async with db.snapshot() as snapshot:
            path.unlink()
            assert await snapshot.count("ints") == 60
        assert await table.count() == 60
