"""Chroma's HNSW: a SQLite database and a graph, made while rows go in."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.bench.peers.peer import Keys, Peer, Vectors
from tests.bench.recall import K

ROWS_A_CALL = 5_000
"""It takes 5,461 at most."""
EF = 100
"""An ef that is changed later counts only once the database is opened again."""
HNSW = {"space": "l2", "ef_construction": 200, "max_neighbors": 16, "ef_search": EF}


class Chroma(Peer):
    """The collection; its handle may be used by several threads."""

    def __init__(self, folder: Path, dim: int) -> None:
        import chromadb

        quiet = chromadb.Settings(anonymized_telemetry=False)
        client: Any = chromadb.PersistentClient(str(folder / "chroma"), settings=quiet)
        self._rows: Any = client.get_or_create_collection(
            "rows", configuration={"hnsw": HNSW}, embedding_function=None
        )

    def fill(self, keys: Keys, vectors: Vectors) -> None:
        """By lists of rows."""
        for start in range(0, len(keys), ROWS_A_CALL):
            some = slice(start, start + ROWS_A_CALL)
            names = [str(key) for key in keys[some].tolist()]
            self._rows.add(ids=names, embeddings=vectors[some])

    def search(self, query: NDArray[np.float32], effort: int) -> list[int]:
        """Through the graph; the effort is EF."""
        found = self._rows.query(query_embeddings=query[None, :], n_results=K, include=[])
        return [int(name) for name in found["ids"][0]]
