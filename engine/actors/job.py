"""One job at a time on an index: a rebuild, a reorganization or a rollback."""

import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

from ...wal import catalog
from ..storage.folding import Writer
from ..storage.indexes import IndexState, Unfinished
from .blas import one_blas_thread
from .control import BuildControl
from .errors import BusyError, JobCancelled, JobPaused
from .state import State

T = TypeVar("T")


async def run_alone(
    state: State, index: IndexState, control: BuildControl, job: Callable[[], Awaitable[T]]
) -> T:
    """Run the job on the index; it ends when `control` says so.

    Raises BusyError while there is another; ClosedError, JobPaused or JobCancelled when it
    was told to end.
    """
    if index.building:
        raise BusyError(f"index {index.row.name!r} is being built already")
    index.building = True
    state.builds[index.row.id] = control
    try:
        with control.scope, one_blas_thread():
            return await job()
    finally:
        del state.builds[index.row.id]
        index.building = False
        control.ended.set()
    state.require_open()
    raise _ended(index.row.name, control)


async def drop_unfinished(state: State, writer: Writer, index: IndexState, message: str) -> None:
    """What a build that was cut short has kept goes; its job says why."""

    def start() -> Callable[[sqlite3.Connection], Unfinished | None]:
        unfinished = index.unfinished
        if unfinished is None:
            return lambda _: None
        job = replace(unfinished.job, state="cancelled", message=message)

        def work(connection: sqlite3.Connection) -> Unfinished:
            catalog.end_build(connection, unfinished.row.id, job)
            return unfinished

        return work

    def finish(dropped: Unfinished | None) -> None:
        if dropped is not None and index.unfinished is dropped:
            state.give_up(index)

    if index.unfinished is not None:
        await writer.do(start, finish)


def _ended(index: str, control: BuildControl) -> JobPaused | JobCancelled:
    if control.ending == "paused":
        return JobPaused.of(index)
    return JobCancelled(f"the build of index {index!r} was cancelled")
