"""The process that reads beside; `python -m fuzz.histories.reader <file>`.

It is asked a line at a time, `<table> <query>`, and answers with what one snapshot holds.
"""

import json
import sys
from pathlib import Path
from typing import Any

import trio

from centroidb import Database, open_db
from tests.support.databases import SMALL

from .attempt import found_in, rows_in


async def _read(path: Path) -> None:
    async with open_db(path, limits=SMALL, read_only=True) as database:
        for line in sys.stdin:
            answer = await _answer(database, *line.split())
            sys.stdout.write(f"{json.dumps(answer)}\n")
            sys.stdout.flush()


async def _answer(database: Database, table: str, query: str) -> dict[str, Any]:
    async with database.snapshot() as snapshot:
        rows = await rows_in(snapshot, table)
        found = await found_in(snapshot, table, int(query))
        found["distances"] = found["distances"].hex()
        return {"lsn": snapshot.lsn, "rows": list(rows.items()), "found": found}


if __name__ == "__main__":
    trio.run(_read, Path(sys.argv[1]))
