"""A later format than there is, so that files can be migrated to it.

It has a column more, and writes every row of every table once more on the way there.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from unittest.mock import patch

from sqlite_utils import Database
from sqlite_utils.migrations import Migrations

from centroidb.wal import schema

from .workloads import Workload

FORMAT, migrations = schema.FORMAT, schema.migrations
"""Of the product as it is."""


def _later_migrations() -> Migrations:
    steps = migrations()

    @steps()
    def later(db: Database) -> None:
        db.execute("ALTER TABLE tables ADD COLUMN notes TEXT NOT NULL DEFAULT 'none'")
        for (table,) in db.execute("SELECT id FROM tables").fetchall():
            db.execute(f"UPDATE tables SET notes = 'of {table:d}' WHERE id = {table:d}")
            db.execute(f"UPDATE rows_{table:d} SET payload = payload")

    return steps


def world(workload: Workload) -> AbstractContextManager[object]:
    """Where a workload is lived and judged: in the later format if its file is to be migrated."""
    return _format(FORMAT + 1) if workload.migrates else nullcontext()


def before(workload: Workload) -> AbstractContextManager[object]:
    """Where its file is prepared: in the format as it is."""
    return _format(FORMAT) if workload.migrates else nullcontext()


@contextmanager
def _format(number: int) -> Iterator[None]:
    steps = migrations if number == FORMAT else _later_migrations
    with patch.multiple(schema, FORMAT=number, migrations=steps):
        yield
