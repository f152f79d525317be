"""Databases for tests: each is checked before it is closed."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from centroidb import Database, Limits, open_db

SMALL = Limits(
    chunk_bytes=2_048,
    group_bytes=8_192,
    slice_bytes=4_096,
    delta_rows=40,
    lag_rows=400,
    catch_up_rows=8,
    sqlite_wal_bytes=256 * 1_024,
    log_records=20,
    purge_rows=30,
    gate_rows=100,
    train_rows=50,
    readers=3,
)
"""Limits so small that every border is crossed within a few hundred rows."""


async def resumed(db: Database) -> None:
    """Wait until the builds that were found unfinished at open have ended."""
    await db._source.supervisor().resumed.wait()


@asynccontextmanager
async def checked_db(
    path: str | os.PathLike[str] = ":memory:", **options: Any
) -> AsyncIterator[Database]:
    """An open database whose `check()` finds nothing wrong at the end of the block."""
    async with open_db(path, **options) as database:
        yield database
        findings = await database.check()
        assert findings.errors == ()
