"""What the commands share: their first argument, `--json`, and one open database."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import click
import trio

from ..db import Database, open_db
from ..db.database import Verify

T = TypeVar("T")

database_argument = click.argument(
    "file", type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def with_database(
    file: Path,
    work: Callable[[Database], Awaitable[T]],
    *,
    read_only: bool = True,
    verify: Verify = "quick",
) -> T:
    """What `work` makes of the open database; a build that was cut short waits to be asked for."""

    async def session() -> T:
        async with open_db(
            file, mode="open", read_only=read_only, on_open="keep", verify=verify
        ) as database:
            return await work(database)

    return trio.run(session)
