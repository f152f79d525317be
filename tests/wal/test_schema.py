"""The schema of a file: what is not made here is refused before anything of it is read."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from centroidb.wal import meta, schema
from centroidb.wal.errors import CorruptError
from centroidb.wal.types import TableId

ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x AS id FROM c"

STRANGE = {
    "a trigger of a table's name": "CREATE TRIGGER meta AFTER INSERT ON wal BEGIN SELECT 1; END",
    "an endless view": "ALTER TABLE tables RENAME TO others;"
    f"CREATE VIEW tables AS SELECT id, 'int' AS key_type FROM ({ENDLESS})",
    "a virtual table": "CREATE VIRTUAL TABLE v USING fts5(x)",
    "an index of an expression": "CREATE INDEX e ON meta (length(value))",
    "a generated column": "ALTER TABLE meta ADD COLUMN g ANY AS (length(value))",
}


def closed_file(folder: Path) -> Path:
    """An empty database."""
    path = folder / "a.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        schema.migrate(connection)
        meta.initialise(connection)
    return path


@pytest.mark.parametrize("script", STRANGE.values(), ids=STRANGE.keys())
def test_strange_entries_are_refused(tmp_path: Path, script: str) -> None:
    """Triggers, views and the like are CorruptError, also where their name is a known one."""
    path = closed_file(tmp_path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript(script)
    with (
        closing(sqlite3.connect(path, isolation_level=None)) as connection,
        pytest.raises(CorruptError, match="schema entry"),
    ):
        schema.verify_schema(connection)


def test_an_analysed_file_is_taken(tmp_path: Path) -> None:
    """The tables that ANALYZE makes are SQLite's own."""
    path = closed_file(tmp_path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript("ANALYZE")
        schema.verify_schema(connection)


@pytest.mark.parametrize("key_type", ["int", "str"])
def test_the_expected_schema_is_the_one_that_is_made(key_type: str) -> None:
    """What a table is expected to have is what SQLite keeps when it is made."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        schema.migrate(connection)
        schema.create_storage(connection, TableId(7), key_type)  # type: ignore[arg-type]  # one of two
        tables = [(TableId(7), key_type)]
        expected = schema.expected_schema(schema.written_here(), tables)  # type: ignore[arg-type]
        assert schema.schema_of(connection) == expected


def test_what_the_migrations_make_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it is not as it is written down: sqlite-utils may find other words."""
    monkeypatch.setattr(schema, "written_here", lambda: {"meta": "CREATE TABLE meta (other)"})
    path = closed_file(tmp_path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        schema.verify_schema(connection)
