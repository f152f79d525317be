"""The cancellation of every call: none is left out, and what a call leaves behind is seen."""

from typing import Any
from unittest.mock import patch

import trio

from centroidb import Table
from fuzz import cancellation
from fuzz.cancellation.calls import CALLS


def test_every_public_call_is_cancelled() -> None:
    """A call that is added to the product needs a program here."""
    assert cancellation.public_calls() == CALLS.keys()


def test_a_sound_call_passes_at_every_turn() -> None:
    """An upsert is cancelled at each of its turns, and nothing is found."""
    result = cancellation.run("Table.upsert alone 1")
    assert result.found == []
    assert result.tried["turns"] > 10


def test_what_a_cancelled_call_holds_is_found() -> None:
    """A count that is cancelled and does not let its snapshot go is a defect."""

    async def count(table: Table) -> int:
        view = await table._source.open_view()
        await trio.lowlevel.checkpoint()
        await table._source.close_view(view)
        return 0

    with patch.object(Table, "count", count):
        (found,) = cancellation.run("Table.count alone 1").found
    assert "held afterwards: snapshots" in found


def test_what_comes_after_a_cancelled_call_is_found() -> None:
    """A write that goes on by itself after its caller was cancelled is a defect."""
    upsert = Table.upsert

    async def late(table: Table, *arguments: Any) -> Any:
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled:
            trio.lowlevel.spawn_system_task(later, table, arguments)
            raise
        return await upsert(table, *arguments)

    async def later(table: Table, arguments: Any) -> None:
        for _ in range(30):
            await trio.lowlevel.checkpoint()
        await upsert(table, *arguments)

    with patch.object(Table, "upsert", late):
        (found,) = cancellation.run("Table.upsert alone 1").found
    assert "rows came after the call had ended" in found
