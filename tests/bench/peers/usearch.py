"""usearch: a graph in memory, kept in a file on request."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.bench.peers.peer import Keys, Peer, Vectors
from tests.bench.recall import K

CONNECTIVITY, EXPANSION_ADD = 16, 200


class Usearch(Peer):
    """The graph, of float32 rows; it is made while rows go in."""

    def __init__(self, folder: Path, dim: int) -> None:
        import usearch.index

        self._file = folder / "usearch.index"
        self._graph: Any = usearch.index.Index(
            ndim=dim,
            metric="l2sq",
            dtype="f32",
            connectivity=CONNECTIVITY,
            expansion_add=EXPANSION_ADD,
        )
        if self._file.exists():
            self._graph.load(str(self._file))

    def fill(self, keys: Keys, vectors: Vectors) -> None:
        """By all cores."""
        self._graph.add(keys, vectors)

    def search(self, query: NDArray[np.float32], effort: int) -> list[int]:
        """By one thread."""
        if self._graph.expansion_search != effort:
            self._graph.expansion_search = effort
        keys: list[int] = self._graph.search(query, K).keys.tolist()
        return keys

    def close(self) -> None:
        """To a file."""
        self._graph.save(str(self._file))
