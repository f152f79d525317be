"""Opening and closing a file, cancelled: it is not held afterwards, and what was in it is there."""

from pathlib import Path

import trio

from centroidb import open_db
from tests.support.databases import SMALL

from ..disk import Image
from ..oracle import Bad, look, recover
from ..powerloss import read_image, write_image
from ..steps import State
from ..victim import FILE
from .scene import INDEX, ROWS, TABLE, Scene, Turns

KINDS = ("new", "closed", "killed")
EXPECTED: State = {
    f"table {TABLE}": 1,
    f"index {INDEX}": 1,
    **{f"{TABLE}/{key}": key for key in range(ROWS)},
}
"""What was in it."""


async def image(kind: str, folder: Path) -> Image:
    """A file that is not there, one that was closed, or one whose process was killed."""
    if kind == "new":
        return {}
    folder.mkdir()  # noqa: ASYNC240 - before anything runs
    async with open_db(folder / FILE, limits=SMALL) as database:
        scene = Scene(database, folder, Turns())
        await scene.fill()
        await database.vacuum()
        killed = read_image(folder)
    return killed if kind == "killed" else read_image(folder)


def cut_short(folder: Path, kind: str, begun: Image, after: int) -> bool:
    """Open and close it, cancelled after so many turns; whether it was over before."""
    write_image(begun, folder)
    turns = Turns()
    in_time: bool = trio.run(_open_and_close, folder, turns, after, instruments=[turns])
    found = look(folder)
    if kind == "new":
        if found:
            raise Bad(f"a new file holds {found}")
    elif found != EXPECTED:
        raise Bad(f"the file holds {found}")
    if found is not None:
        recover(folder, again=False)
    return in_time


async def _open_and_close(folder: Path, turns: Turns, after: int) -> bool:
    with turns.cut(after) as scope:
        async with open_db(folder / FILE, limits=SMALL) as database:
            await database.statistics()
    return not scope.cancel_called
