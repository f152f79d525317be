"""The cancellation of every call: none is left out, and what a call leaves behind is seen."""

from contextlib import suppress
from itertools import takewhile
from typing import Any
from unittest.mock import patch

import trio

from centroidb import Table
from centroidb.engine.db.source import ForeignSource
from fuzz import cancellation
from fuzz.cancellation.calls import CALLS, READS


def test_every_public_call_is_cancelled() -> None:
    """A call that is added to the product needs a program here."""
    assert cancellation.public_calls() == {name for name in CALLS if ":" not in name}
    assert CALLS.keys() >= READS


def test_a_call_without_a_program_is_found() -> None:
    """A call that nobody wrote a program for is one of the round, and a defect."""

    async def mend(table: Table) -> None:
        await table.count()

    with patch.object(Table, "mend", mend, create=True):
        assert "Table.mend alone 1" in cancellation.cases(1)
        assert cancellation.run("Table.mend alone 1").found == ["no program for Table.mend"]


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


def test_a_swallowed_cancellation_is_found() -> None:
    """A write that was cancelled halfway and returns as if it were done is a defect."""
    upsert = Table.upsert

    async def silent(table: Table, *arguments: Any) -> None:
        with suppress(trio.Cancelled):
            await upsert(table, *arguments)

    with patch.object(Table, "upsert", silent):
        (found,) = cancellation.run("Table.upsert alone 1").found
    assert "the rows are neither those before nor those after" in found


def test_a_call_that_hangs_once_cancelled_is_found() -> None:
    """A call that waits for what never comes is a defect, and no time passes until it is found."""

    async def count(_: Table) -> int:
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled:
            with trio.CancelScope(shield=True), trio.move_on_after(10 * cancellation.HANGS_AFTER_S):
                await trio.sleep_forever()
            raise
        return 0

    with patch.object(Table, "count", count):
        (found,) = cancellation.run("Table.count alone 1").found
    assert "TooSlowError" in found


def test_what_a_cancelled_reader_holds_is_found() -> None:
    """A read-only open that does not let its read transaction go is a defect."""
    close_view = ForeignSource.close_view

    async def late(source: ForeignSource, view: Any) -> None:
        await trio.lowlevel.checkpoint()
        await close_view(source, view)

    with patch.object(ForeignSource, "close_view", late):
        (found, *_) = cancellation.run("Table.count reading 1").found
    assert "held afterwards: views" in found


def test_rounds_leave_no_turn_out() -> None:
    """Whatever is left out in a round, so many rounds together try every turn."""
    step = cancellation.STEP_BESIDE
    rounds = [cancellation.turns_of(number, step) for number in range(step * cancellation.STRIDE)]
    tried = {turn for turns in rounds for turn in takewhile(lambda turn: turn < 1_000, turns)}
    assert tried == set(range(1_000))
