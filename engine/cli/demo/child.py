"""The child process of the crash: it inserts and rebuilds until it is killed.

It says on standard output `acknowledged <key>` for each insert the database has acknowledged, and
`rebuild <phase> <percent>` for each progress event.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import trio

from ...db import Index, Table, open_db
from ...db.errors import RebuildRejected
from .places import Place, contiguous_us, rows

NLIST = 128


async def write_and_rebuild(path: Path, places: Sequence[Place]) -> None:
    """Do both at the same time, on the demo's table."""
    async with open_db(path) as database, trio.open_nursery() as nursery:
        nursery.start_soon(write, await database.table("cities"), places)
        nursery.start_soon(rebuild, await database.index("cities_ivf"))


async def write(table: Table, places: Sequence[Place]) -> None:
    """Insert each place that is not in the table yet, one commit each."""
    for place in places:
        if await table.get(place.key) is None:
            await table.upsert(*rows([place]))
            print("acknowledged", place.key, flush=True)


async def rebuild(index: Index) -> None:
    """Rebuild without end, so that the kill never comes too late."""
    while True:
        with suppress(RebuildRejected):
            async with index.rebuilding(nlist=NLIST) as job:
                async for event in job:
                    print("rebuild", event.phase, f"{event.fraction:.0%}", flush=True)


if __name__ == "__main__":
    trio.run(write_and_rebuild, Path(sys.argv[1]), contiguous_us())
