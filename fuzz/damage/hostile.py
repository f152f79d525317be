"""Hostile files: made by somebody who means harm, with SQLite's own means, so that all fits.

script      something foreign: a trigger, a view, JSON that nests without end, counts beyond
            all bounds; each ends in a typed error or the right answer, in bounded time and memory
bytes       lies of the header, another program's file, a strange WAL or journal beside it; a
            refused file of another program, or of the future, stays as it is
catalog     absurd values anywhere in the catalog, the log and meta, drawn from a seed
"""

import random
import signal
import sqlite3
import struct
import time
import traceback
import zlib
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import trio

from centroidb import InputError, NotFoundError, RetryError, open_db
from centroidb.wal.blocking import substitute
from tests.support.databases import SMALL

from ..case import Campaign, Result, scratch
from ..disk import Image, read_image
from ..inline import inline
from ..oracle import Bad
from .campaign import HANG_S, bounded_memory
from .reading import Answers, never, read, refused
from .victims import FILE, vectors, victim, write

BUSY_MAX_S = 1.0
"""Of processor time, for one open and all questions."""
MEMORY_BYTES = 256 << 20
ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x AS id FROM c"
DEEP = "[" * 200_000
CRC_OF_DEEP = "UPDATE rows_1 SET payload = :deep, crc = crc_of(key, payload, vector) WHERE vid = 30"


def _with_vector(vector: str) -> str:
    """All vectors become this one, and all checksums are right."""
    return (
        f"UPDATE rows_1 SET vector = {vector}, vector_crc = crc32({vector}), "
        f"crc = crc_of(key, payload, {vector})"
    )


SCRIPTS = {
    "trigger": "CREATE TRIGGER t AFTER UPDATE ON meta BEGIN DELETE FROM wal; END",
    "trigger-name": "CREATE TRIGGER meta AFTER UPDATE ON meta BEGIN DELETE FROM wal; END",
    "view": f"ALTER TABLE tables RENAME TO o; CREATE VIEW tables AS SELECT id, 'int' AS key_type "
    f"FROM ({ENDLESS})",
    "view-of-rows": "ALTER TABLE rows_1 RENAME TO o; CREATE VIEW rows_1 AS SELECT * FROM o",
    "virtual": "CREATE VIRTUAL TABLE v USING fts5(x)",
    "expression": "CREATE INDEX e ON meta (length(value))",
    "generated": "ALTER TABLE meta ADD COLUMN g ANY AS (length(value))",
    "table": "CREATE TABLE more (x)",
    "analysed": "ANALYZE",
    "stat-lies": "ANALYZE; UPDATE sqlite_stat1 SET stat = '1 1'",
    "dims": "UPDATE tables SET dim = 1 << 31",
    "dims-0": "UPDATE tables SET dim = 0",
    "dims-negative": "UPDATE tables SET dim = -4",
    "vids": "UPDATE tables SET next_vid = 1 << 62",
    "vids-many": "UPDATE tables SET next_vid = 1 << 31",
    "vids-negative": "UPDATE tables SET next_vid = -1",
    "row-far": "UPDATE rows_1 SET vid = 1 << 62 WHERE vid = 5",
    "row-negative": "UPDATE rows_1 SET vid = -5 WHERE vid = 5",
    "death-far": "UPDATE dead_1 SET vid = 1 << 62 WHERE vid = (SELECT min(vid) FROM dead_1)",
    "death-negative": "UPDATE dead_1 SET vid = -7 WHERE vid = (SELECT min(vid) FROM dead_1)",
    "nlist": "UPDATE generations SET nlist = 1 << 40",
    "nlist-0": "UPDATE generations SET nlist = 0",
    "fold": "UPDATE generations SET fold_vid = 1 << 62",
    "fold-negative": "UPDATE generations SET fold_vid = -(1 << 62)",
    "segment-n": "UPDATE partitions SET n = 1 << 40",
    "segment-bytes": "UPDATE partitions SET bytes = 1 << 60",
    "segment-place": "UPDATE partitions SET centroid = 1 << 40",
    "lsn": "UPDATE meta SET value = 1 << 62 WHERE key = 'next_lsn'",
    "lsn-min": "UPDATE meta SET value = -9223372036854775808 WHERE key = 'next_lsn'",
    "anchor": "UPDATE meta SET value = 1 << 62 WHERE key = 'anchor_lsn'",
    "record": "UPDATE wal SET count = 1 << 62, first_vid = 1 << 62",
    "json-deep": "UPDATE indexes SET parameters = :deep",
    "json-keys": """UPDATE indexes SET parameters = '{"metric": 7, "nlist": "x"}'""",
    "json-more": """UPDATE indexes SET parameters = '{"metric": "l2", "more": 1}'""",
    "job-deep": "UPDATE jobs SET throttle = :deep",
    "job-types": "UPDATE jobs SET state = 'x', kind = 'y', generation = -1",
    "owner-deep": "UPDATE meta SET value = :deep WHERE key = 'owner'",
    "outcome-deep": "UPDATE commits SET outcome = :deep",
    "payload-deep": CRC_OF_DEEP,
    "payload-no-json": "UPDATE rows_1 SET payload = 'no', crc = crc_of(key, 'no', vector)",
    "key-no-text": "UPDATE rows_2 SET key = CAST(x'ff61' AS TEXT) WHERE vid = 3",
    "name-no-text": "UPDATE tables SET name = CAST(x'ff61' AS TEXT) WHERE id = 2",
    "nan": _with_vector("nan()"),
    "infinite": _with_vector("huge()"),
    "vector-short": _with_vector("x'00'"),
    "vector-huge": "UPDATE rows_1 SET vector = zeroblob(100 << 20) WHERE vid = 30",
    "payload-huge": "UPDATE rows_1 SET payload = printf('%.*c', 100 << 20, 'x') WHERE vid = 30",
    "captured-huge": "UPDATE query_samples SET vector = zeroblob(10 << 20)",
    "captured-short": "UPDATE query_samples SET vector = x'00'",
    "captured-nan": "UPDATE query_samples SET vector = nan()",
    "cycle": "UPDATE indexes SET active = id; UPDATE generations SET index_id = id",
    "state": "UPDATE generations SET state = 'nothing'",
    "time": "UPDATE commits SET time_ns = -(1 << 62); UPDATE jobs SET started_ns = 1 << 62",
    "key-type": "UPDATE tables SET key_type = 'str' WHERE id = 1",
}

BYTES = {
    "application": (FILE, 68, b"ABCD"),
    "future": (FILE, 60, struct.pack(">I", 99)),
    "write-version": (FILE, 18, b"\3\3"),
    "page-size-small": (FILE, 16, struct.pack(">H", 512)),
    "page-size-large": (FILE, 16, struct.pack(">H", 1)),
    "page-size-odd": (FILE, 16, struct.pack(">H", 12_345)),
    "reserved": (FILE, 20, b"\xff"),
    "page-count": (FILE, 28, b"\xff\xff\xff\xff"),
    "freelist": (FILE, 32, b"\0\0\0\1\xff\xff\xff\xff"),
    "schema-format": (FILE, 44, struct.pack(">I", 9)),
    "encoding": (FILE, 56, struct.pack(">I", 2)),
    "empty": (FILE, None, b""),
    "text": (FILE, None, b"no database\n" * 100),
    "wal": (f"{FILE}-wal", None, b"\x37\x7f\x06\x82" + bytes(5_000)),
    "journal": (f"{FILE}-journal", None, bytes.fromhex("d9d505f920a163d7") + b"\xff" * 5_000),
    "journal-noise": (f"{FILE}-journal", None, random.Random(1).randbytes(9_000)),
}
"""File, place, and what is written there; None: the whole file."""
UNTOUCHED = ("application", "future", "write-version", "text")
"""A refusal leaves these as they are."""

CATALOG = {
    "tables": "next_vid live dim changed_lsn created_lsn dropped_lsn",
    "indexes": "table_id active created_lsn",
    "generations": "index_id s0_lsn s0_high fold_lsn fold_vid nlist seed rows_at_build "
    "built_at_ns replaced_at_ns sealed",
    "partitions": "generation centroid n bytes crc",
    "centroids": "generation first n crc",
    "jobs": "index_id generation round rounds rows_done rows_total lag_rows parallel started_ns",
    "wal": "seq table_id first_vid count rows_crc time_ns crc",
    "commits": "time_ns",
    "decisions": "time_ns index_id",
    "query_samples": "index_id time_ns",
    "meta": "value",
    "live_1": "vid",
    "dead_1": "end_lsn",
    "rows_1": "lsn crc vector_crc key",
}
"""Columns of integers by table; not when an index was dropped: a drop leaves just that."""
ABSURD = (0, -1, 1, 2, 7, 255, 1 << 31, (1 << 32) - 1, 1 << 40, 1 << 62, (1 << 63) - 1, -(1 << 63))
CATALOGS = 20
"""Cases of absurd catalogs in a round."""
FILES = 12
"""Of such a case."""


def run(text: str) -> Result:
    """`script <name>`, `bytes <name>` or `catalog <seed>`."""
    what, name = text.split()
    chance = random.Random(text)
    result = Result()
    with scratch() as folder, substitute(inline):
        home = folder / "victim"
        whole = victim("closed", 1).now
        reading = trio.run(read, write(whole, home))
        if reading.said:
            raise Bad(f"the whole file is refused: {reading.said}")
        right = reading.answers
        for number in range(FILES if what == "catalog" else 1):
            files = _made(what, name, whole, home, chance)
            if files is not None and files != whole:
                trial = Trial(files, home, right, name)
                found = trial.run(result)
                result.found += [f"file {number}: {each}" for each in found]
    return result


def _made(what: str, name: str, whole: Image, home: Path, chance: random.Random) -> Image | None:
    """The hostile files; None where this SQLite can not make them."""
    path = write(whole, home)
    if what == "bytes":
        file, place, content = BYTES[name]
        before = whole.get(file, b"")
        if place is not None:
            content = before[:place] + content + before[place + len(content) :]
        return {**whole, file: content}
    script = SCRIPTS[name] if what == "script" else _absurd(chance)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        _add_functions(connection)
        for statement in [script] if "TRIGGER" in script else script.split("; "):
            values = {"deep": DEEP} if ":deep" in statement else {}
            with suppress(sqlite3.IntegrityError):
                connection.execute(statement, values)
    return read_image(home)


def _absurd(chance: random.Random) -> str:
    """Some columns of the catalog become something else, in one row or in all."""
    statements = []
    for _ in range(chance.randint(1, 2)):
        table = chance.choice(list(CATALOG))
        column = chance.choice(CATALOG[table].split())
        one = f" WHERE {column} = (SELECT max({column}) FROM {table})"
        where = chance.choice(("", one))
        statements.append(f"UPDATE {table} SET {column} = {chance.choice(ABSURD)}{where}")
    return "; ".join(statements)


def _add_functions(connection: sqlite3.Connection) -> None:
    from centroidb.wal.checksum import row_crc

    dims = len(vectors(1, 0)[0])
    connection.create_function("crc32", 1, zlib.crc32)
    connection.create_function(
        "crc_of", 3, lambda key, text, raw: row_crc(key, text, zlib.crc32(raw))
    )
    connection.create_function("nan", 0, lambda: struct.pack("<f", float("nan")) * dims)
    connection.create_function("huge", 0, lambda: struct.pack("<f", float("inf")) * dims)


class Trial:
    """One hostile file: asked everything, checked, and opened for writing."""

    def __init__(self, files: Image, home: Path, right: Answers, name: str) -> None:
        self._files = files
        self._home = home
        self._right = right
        self._name = name
        self._wrong: list[str] = []
        self._told = False

    def run(self, result: Result) -> list[str]:
        """What is wrong with what became of it."""
        found = []
        result.tried["hostile files"] += 1
        for step in (self._read, self._check, self._prove, self._own):
            signal.alarm(HANG_S)
            path = write(self._files, self._home)
            began_s = time.process_time()
            try:
                with bounded_memory(MEMORY_BYTES), refused():
                    trio.run(step, path)
            except Exception:  # noqa: BLE001 - whatever is not typed is a defect
                found.append(f"{step.__name__}: {traceback.format_exc()}")
            finally:
                signal.alarm(0)
            if time.process_time() - began_s > BUSY_MAX_S:
                found.append(f"{step.__name__}: {time.process_time() - began_s:.1f} s")
            result.tried["opens of hostile files"] += 1
        if self._wrong and not self._told:
            found.append(f"a wrong answer, and check does not tell: {self._wrong}")
        if self._name in UNTOUCHED and read_image(self._home) != self._files:
            found.append("a refused file has changed")
        return found

    async def _read(self, path: Path) -> None:
        reading = await read(path, never, read_only=True)
        self._wrong = [
            what for what, answer in reading.answers.items() if answer != self._right[what]
        ]

    async def _check(self, path: Path) -> None:
        self._told = True
        async with open_db(path, read_only=True) as database:
            with refused():
                await database.jobs()
            with refused():
                await database.decisions()
            for index in await database.indexes():
                with refused(), suppress(NotFoundError):
                    await index.statistics()
            self._told = bool((await database.check()).errors)

    async def _prove(self, path: Path) -> None:
        async with open_db(path, read_only=True, verify="full"):
            pass

    async def _own(self, path: Path) -> None:
        with suppress(InputError, RetryError), refused():
            async with open_db(path, limits=SMALL, mode="open") as database:
                table = await database.table("ints")
                await table.upsert([5], vectors(1, 5))
                await table.search(vectors(1, 5), 3)


def cases(number: int) -> Iterator[str]:
    """All that is fixed, and some that is drawn."""
    yield from (f"script {name}" for name in SCRIPTS)
    yield from (f"bytes {name}" for name in BYTES)
    yield from (f"catalog {number * CATALOGS + case}" for case in range(CATALOGS))


CAMPAIGN = Campaign("hostile", cases, run, {"hostile files": 250})
