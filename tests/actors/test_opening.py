"""Opening: one that is cancelled gives the file back."""

from pathlib import Path
from typing import Any

import pytest
import trio

from centroidb import open_db
from centroidb.engine.actors import supervisor
from tests.support.databases import checked_db


async def test_a_cancelled_opening_gives_the_file_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cancelled while a thread opens the file, an opening leaves neither a lock nor a WAL."""
    path = tmp_path / "t.db"
    async with checked_db(path) as db:
        await db.create_table("t", dim=3)
    scope = trio.CancelScope()
    _cancel_while_opening(monkeypatch, scope)
    with scope:
        async with open_db(path):
            await trio.sleep_forever()
    assert scope.cancelled_caught
    monkeypatch.undo()

    async with checked_db(path) as db:
        assert len(await db.tables()) == 1
    assert [each.name for each in tmp_path.iterdir()] == ["t.db"]


def _cancel_while_opening(monkeypatch: pytest.MonkeyPatch, scope: trio.CancelScope) -> None:
    real = supervisor._open

    def opening(*args: Any) -> Any:
        opened = real(*args)
        trio.from_thread.run_sync(scope.cancel)
        return opened

    monkeypatch.setattr(supervisor, "_open", opening)
