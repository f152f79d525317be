"""hnswlib: a graph in memory, kept in a file on request."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.bench.peers.peer import Keys, Peer, Vectors
from tests.bench.recall import K

M, EF_CONSTRUCTION = 16, 200


class Hnsw(Peer):
    """The graph; it is made while rows go in."""

    def __init__(self, folder: Path, dim: int) -> None:
        import hnswlib

        self._file = folder / "hnswlib.index"
        self._ef = 0
        self._graph: Any = hnswlib.Index("l2", dim)
        if self._file.exists():
            self._graph.load_index(str(self._file))

    def fill(self, keys: Keys, vectors: Vectors) -> None:
        """By all cores."""
        self._graph.init_index(len(keys), M=M, ef_construction=EF_CONSTRUCTION)
        self._graph.add_items(vectors, keys)

    def search(self, query: NDArray[np.float32], effort: int) -> list[int]:
        """By one thread."""
        if effort != self._ef:
            self._graph.set_ef(effort)
            self._ef = effort
        found, _ = self._graph.knn_query(query, K, num_threads=1)
        keys: list[int] = found[0].tolist()
        return keys

    def close(self) -> None:
        """To a file."""
        if self._ef:
            self._graph.save_index(str(self._file))
