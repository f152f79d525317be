"""Opening and closing a file, cancelled: it is not held afterwards, and what was in it is there."""

from pathlib import Path

import trio

from centroidb import open_db
from tests.support.databases import SMALL

from ..disk import Image, read_image, write_image
from ..histories.attempt import put
from ..oracle import Bad, look, recover
from ..steps import State
from ..victim import FILE
from .scene import INDEX, ROWS, TABLE, Scene, Turns

READ = "read"
KINDS = ("new", "closed", "killed", "unfinished", f"{READ}_closed", f"{READ}_killed")
HANGS_AFTER_S = 60.0
EXPECTED: State = {
    f"table {TABLE}": 1,
    f"index {INDEX}": 1,
    **{f"{TABLE}/{key}": key for key in range(ROWS)},
}
"""What was in it."""


async def image(kind: str, folder: Path) -> Image:
    """A file that is not there, was closed, amid a rebuild or not, or whose process was killed."""
    if kind == "new":
        return {}
    folder.mkdir()  # noqa: ASYNC240 - before anything runs
    async with open_db(folder / FILE, limits=SMALL) as database:
        scene = Scene(database, database, folder, Turns())
        await scene.fill()
        await database.vacuum()
        await put(await scene.table(), {1: 1, 2: 2})
        killed = read_image(folder)
        assert killed[f"{FILE}-wal"], "there is nothing to recover"
        if kind == "unfinished":
            async with (await scene.index()).rebuilding(nlist=3, parallel=1):
                pass
    return killed if kind.endswith("killed") else read_image(folder)


def cut_short(folder: Path, kind: str, begun: Image, after: int) -> bool:
    """Open and close it, cancelled after so many turns; whether it was over before."""
    write_image(begun, folder)
    turns = Turns()
    read_only = kind.startswith(READ)
    in_time: bool = trio.run(_open_and_close, folder, turns, after, read_only, instruments=[turns])
    found = look(folder)
    if kind == "new":
        if found:
            raise Bad(f"a new file holds {found}")
    elif found != EXPECTED:
        raise Bad(f"the file holds {found}")
    if found is not None:
        recover(folder, found, again=False)
    return in_time


async def _open_and_close(folder: Path, turns: Turns, after: int, read_only: bool) -> bool:
    with trio.fail_after(HANGS_AFTER_S), turns.cut(after) as scope:
        async with open_db(folder / FILE, limits=SMALL, read_only=read_only) as database:
            await database.statistics()
    return not scope.cancel_called
