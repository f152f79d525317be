"""The tables of a file, and how a file of an older format becomes one of this format.

`user_version` is the format: the number of migrations a file has gone through.
sqlite-utils runs them; each is one transaction together with the version it
leads to, so a crash in between leaves the older format whole.

User strings are never identifiers: the rows of table 7 are in `rows_7`,
`live_7` and `dead_7`, and the number 7 is never used again.

A file whose schema is not exactly the one made here (a trigger, a view, one
column more) is refused: it is damaged, or somebody's trap.
"""

import sqlite3
from functools import cache
from typing import TYPE_CHECKING

from .errors import CorruptError, translated
from .types import KeyType, TableId

if TYPE_CHECKING:
    from sqlite_utils import Database
    from sqlite_utils.migrations import Migrations

APPLICATION_ID = 0x43444231  # "CDB1"
PAGE_SIZE_BYTES = 16_384

_KEY_COLUMN = {"int": "INTEGER", "str": "TEXT"}

_FORMAT_1 = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY) STRICT, WITHOUT ROWID;

CREATE TABLE tables (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, dim INTEGER NOT NULL,
    metric TEXT NOT NULL, key_type TEXT NOT NULL, next_vid INTEGER NOT NULL,
    live INTEGER NOT NULL, sum BLOB NOT NULL, changed_lsn INTEGER NOT NULL,
    created_lsn INTEGER NOT NULL, dropped_lsn INTEGER) STRICT;
CREATE UNIQUE INDEX tables_name ON tables (name) WHERE dropped_lsn IS NULL;

CREATE TABLE wal (
    lsn INTEGER NOT NULL, seq INTEGER NOT NULL, table_id INTEGER NOT NULL, kind TEXT NOT NULL,
    first_vid INTEGER NOT NULL, count INTEGER NOT NULL, rows_crc INTEGER NOT NULL,
    time_ns INTEGER NOT NULL, crc INTEGER NOT NULL, ended BLOB NOT NULL,
    PRIMARY KEY (lsn, seq)) STRICT, WITHOUT ROWID;

CREATE TABLE commits (
    lsn INTEGER PRIMARY KEY, time_ns INTEGER NOT NULL, idempotency_key TEXT NOT NULL,
    outcome TEXT NOT NULL) STRICT;
CREATE UNIQUE INDEX commits_key ON commits (idempotency_key);

CREATE TABLE indexes (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, table_id INTEGER NOT NULL,
    metric TEXT NOT NULL, parameters TEXT NOT NULL, active INTEGER,
    created_lsn INTEGER NOT NULL, dropped_lsn INTEGER) STRICT;
CREATE UNIQUE INDEX indexes_name ON indexes (name) WHERE dropped_lsn IS NULL;

CREATE TABLE generations (
    id INTEGER PRIMARY KEY AUTOINCREMENT, index_id INTEGER NOT NULL, state TEXT NOT NULL,
    s0_lsn INTEGER NOT NULL, s0_high INTEGER NOT NULL, fold_lsn INTEGER NOT NULL,
    fold_vid INTEGER NOT NULL, nlist INTEGER NOT NULL, seed INTEGER NOT NULL,
    codec TEXT NOT NULL, metric TEXT NOT NULL, centroid_search TEXT NOT NULL,
    rows_at_build INTEGER NOT NULL, drift_baseline REAL NOT NULL,
    cost_at_build REAL NOT NULL, built_at_ns INTEGER NOT NULL, replaced_at_ns INTEGER NOT NULL,
    sealed INTEGER NOT NULL, segment_sum BLOB NOT NULL, parameters TEXT NOT NULL) STRICT;

CREATE TABLE centroids (
    generation INTEGER NOT NULL, first INTEGER NOT NULL, n INTEGER NOT NULL,
    crc INTEGER NOT NULL, vectors BLOB NOT NULL, PRIMARY KEY (generation, first)) STRICT;

CREATE TABLE partitions (
    id INTEGER PRIMARY KEY AUTOINCREMENT, generation INTEGER NOT NULL,
    centroid INTEGER NOT NULL, n INTEGER NOT NULL, crc INTEGER NOT NULL, bytes INTEGER NOT NULL,
    vids BLOB NOT NULL, bounds BLOB NOT NULL, row_crcs BLOB NOT NULL,
    codes BLOB NOT NULL) STRICT;
CREATE INDEX partitions_of
    ON partitions (generation, centroid, id, n, bytes);

CREATE TABLE calibrations (
    generation INTEGER PRIMARY KEY, crc INTEGER NOT NULL, data BLOB NOT NULL) STRICT;

CREATE TABLE slices (
    generation INTEGER NOT NULL, step TEXT NOT NULL, number INTEGER NOT NULL,
    crc INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (generation, step, number)) STRICT;

CREATE TABLE jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT, index_id INTEGER NOT NULL, generation INTEGER,
    kind TEXT NOT NULL, state TEXT NOT NULL, phase TEXT NOT NULL, fraction REAL NOT NULL,
    round INTEGER NOT NULL, rounds INTEGER NOT NULL, rows_done INTEGER NOT NULL,
    rows_total INTEGER NOT NULL, rows_per_s REAL NOT NULL, lag_rows INTEGER NOT NULL,
    lag_slope REAL NOT NULL, held_s REAL NOT NULL, eta_s REAL, parallel INTEGER NOT NULL,
    throttle TEXT NOT NULL, message TEXT NOT NULL, started_ns INTEGER NOT NULL,
    updated_ns INTEGER NOT NULL) STRICT;

CREATE TABLE decisions (
    id INTEGER PRIMARY KEY AUTOINCREMENT, time_ns INTEGER NOT NULL, index_id INTEGER NOT NULL,
    action TEXT NOT NULL, reasons TEXT NOT NULL) STRICT;

CREATE TABLE query_samples (
    id INTEGER PRIMARY KEY AUTOINCREMENT, index_id INTEGER NOT NULL, time_ns INTEGER NOT NULL,
    vector BLOB NOT NULL) STRICT;
"""

_STORAGE = """
CREATE TABLE rows_{t} (
    vid INTEGER PRIMARY KEY, key {key} NOT NULL, lsn INTEGER NOT NULL, crc INTEGER NOT NULL,
    vector_crc INTEGER NOT NULL, payload TEXT, vector BLOB NOT NULL) STRICT;
CREATE TABLE live_{t} (key {key} PRIMARY KEY, vid INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE dead_{t} (
    vid INTEGER PRIMARY KEY, key {key} NOT NULL, end_lsn INTEGER NOT NULL) STRICT;
CREATE INDEX dead_{t}_key ON dead_{t} (key);
"""


_MIGRATIONS = {
    "_sqlite_migrations": 'CREATE TABLE "_sqlite_migrations" ( "id" INTEGER PRIMARY KEY, '
    '"migration_set" TEXT, "name" TEXT, "applied_at" TEXT )',
    "idx__sqlite_migrations_migration_set_name": "CREATE UNIQUE INDEX "
    '"idx__sqlite_migrations_migration_set_name" ON "_sqlite_migrations" ("migration_set", "name")',
}
"""What sqlite-utils makes beside, at present."""


def run_script(connection: sqlite3.Connection, script: str) -> None:
    """Run statements one by one: `executescript` would commit an open transaction."""
    for statement in script.split(";"):
        if statement.strip():
            connection.execute(statement)


def migrations() -> "Migrations":
    """The way from an empty file to this format, one step a format."""
    from sqlite_utils.migrations import Migrations

    steps = Migrations("centroidb")

    @steps()
    def format_1(db: "Database") -> None:
        run_script(db.conn, _FORMAT_1)

    return steps


FORMAT = 1


def inspection(connection: sqlite3.Connection) -> "Database":
    """sqlite-utils on our own connection: it must never bring a SQLite of its own."""
    from sqlite_utils import Database

    return Database(connection, recursive_triggers=False, execute_plugins=False)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the file to this format, in one transaction."""
    with translated("migrating the file"):
        connection.execute("BEGIN IMMEDIATE")
        try:
            migrations().apply(inspection(connection))
            connection.execute(f"PRAGMA user_version = {FORMAT:d}")
            connection.execute("COMMIT")
        except BaseException:
            connection.rollback()  # unless the error has ended the transaction
            raise


def create_storage(connection: sqlite3.Connection, table: TableId, key_type: KeyType) -> None:
    """Make the three tables that hold the rows of `table`."""
    run_script(connection, _STORAGE.format(t=int(table), key=_KEY_COLUMN[key_type]))


def drop_storage(connection: sqlite3.Connection, table: TableId) -> None:
    """Drop the three tables that held the rows of `table`."""
    for name in ("rows", "live", "dead"):
        connection.execute(f"DROP TABLE IF EXISTS {name}_{table:d}")


Schema = dict[str, str]

_OWN = ("sqlite_sequence", "sqlite_stat1", "sqlite_stat4")
"""Tables that SQLite makes by itself, or when somebody analyses the file."""


def schema_of(connection: sqlite3.Connection) -> Schema:
    """Name -> statement of everything in the file but SQLite's own and automatic entries.

    CorruptError for what this version never makes: a trigger, a view, one name twice, a
    name that only SQLite gives. Nothing of the file but its schema is read.
    """
    found: Schema = {}
    entries = connection.execute("SELECT type, name, sql FROM sqlite_schema").fetchall()
    for kind, name, sql in entries:
        if (kind == "index" and sql is None) or (kind == "table" and name in _OWN):
            continue
        strange = kind not in ("table", "index") or str(name).lower().startswith("sqlite_")
        if strange or name in found:
            raise CorruptError(f"schema entry {name!r}, a {kind}: nothing like it is made here")
        found[str(name)] = " ".join(str(sql).split())
    return found


@cache
def _without_tables(number: int) -> Schema:
    """The schema of a new file of this version, whose format has this number."""
    assert number == FORMAT
    model = sqlite3.connect(":memory:", isolation_level=None)
    try:
        migrate(model)
        return schema_of(model)
    finally:
        model.close()


@cache
def written_here() -> Schema:
    """The same, by the statements above: sqlite-utils takes a third of a second to import."""
    return _statements(_FORMAT_1) | _MIGRATIONS


def _statements(script: str) -> Schema:
    """Name -> statement of what a script creates."""
    found: Schema = {}
    for statement in script.split(";"):
        words = statement.split()
        if words:
            found[words[2 if words[1] != "UNIQUE" else 3]] = " ".join(words)
    return found


def _expected_without_tables(found: Schema) -> Schema:
    """What a file that holds `found` must hold beside its tables.

    Where that is not as it is written here, the way there from an empty file has the last word.
    """
    written = written_here()
    return written if written.items() <= found.items() else _without_tables(FORMAT)


def expected_schema(base: Schema, tables: list[tuple[TableId, KeyType]]) -> Schema:
    """What a file with this `base` that has these tables must hold, statement by statement."""
    expected = dict(base)
    for table, key_type in tables:
        expected |= _statements(_STORAGE.format(t=int(table), key=_KEY_COLUMN[key_type]))
    return expected


def verify_schema(connection: sqlite3.Connection) -> None:
    """Raise CorruptError unless the schema is exactly the one this version makes.

    That of the catalog is looked at first: what it says of tables is read only then.
    """
    try:
        found = schema_of(connection)
        base = _expected_without_tables(found)
        _compare({"tables": found.get("tables", "")}, {"tables": base["tables"]})
        tables = connection.execute("SELECT id, key_type FROM tables").fetchall()
        wrong = any(not isinstance(t, int) or k not in _KEY_COLUMN for t, k in tables)
        expected = expected_schema(base, [] if wrong else tables)
    except sqlite3.OperationalError as error:
        code = getattr(error, "sqlite_errorcode", None)  # Python's own errors have none
        if code != sqlite3.SQLITE_ERROR:  # a lock, a right that is missing, no text
            raise
        raise CorruptError(f"the file's schema is not of format {FORMAT}: {error}") from error
    _compare(found, expected)


def _compare(found: Schema, expected: Schema) -> None:
    for name in sorted(found.keys() | expected.keys()):
        if found.get(name) != expected.get(name):
            raise CorruptError(
                f"schema entry {name!r}: expected {expected.get(name)!r}, found {found.get(name)!r}"
            )
