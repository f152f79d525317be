"""faiss IVFFlat and IVFSQ8: in memory, kept in a file on request; searched by one thread."""

import os
from pathlib import Path
from time import perf_counter
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tests.bench.peers.peer import Keys, Peer, Vectors
from tests.bench.recall import K

SEED = 1


def build(
    vectors: NDArray[np.float32], nlist: int, *, seed: int, threads: int, codec: str = "Flat"
) -> tuple[Any, float]:
    """An IVF index, trained and filled, and the seconds that took."""
    import faiss

    faiss.omp_set_num_threads(threads)
    index: Any = faiss.index_factory(vectors.shape[1], f"IVF{nlist},{codec}")
    index.cp.seed = seed
    start_s = perf_counter()
    index.train(vectors)
    index.add(vectors)
    return index, perf_counter() - start_s


class Faiss(Peer):
    """The index; keys must be 0, 1, ..., in order."""

    def __init__(self, folder: Path, codec: str) -> None:
        import faiss

        self._faiss: Any = faiss
        self._codec = codec
        self._file = folder / "faiss.index"
        self._vectors = np.empty((0, 0), np.float32)
        self._index: Any = faiss.read_index(str(self._file)) if self._file.exists() else None
        self.session()

    def session(self) -> Self:
        """The same handle, in a thread that does not start others."""
        self._faiss.omp_set_num_threads(1)
        return self

    def fill(self, keys: Keys, vectors: Vectors) -> None:
        """Kept as they are until the index is made."""
        self._vectors = np.ascontiguousarray(vectors)

    def index(self, nlist: int) -> float:
        """With as many lists; the seconds by one thread or by all cores, whichever is faster."""
        seconds = []
        for threads in sorted({1, os.cpu_count() or 1}):
            self._index, took_s = build(
                self._vectors, nlist, seed=SEED, threads=threads, codec=self._codec
            )
            seconds.append(took_s)
        self.session()
        return min(seconds)

    def search(self, query: NDArray[np.float32], effort: int) -> list[int]:
        """Through the index."""
        if self._index.nprobe != effort:
            self._index.nprobe = effort
        _, found = self._index.search(query[None, :], K)
        keys: list[int] = found[0].tolist()
        return keys

    def close(self) -> None:
        """To a file."""
        if self._index is not None:
            self._faiss.write_index(self._index, str(self._file))


def flat(folder: Path, dim: int) -> Faiss:
    """float32 rows."""
    return Faiss(folder, "Flat")


def sq8(folder: Path, dim: int) -> Faiss:
    """A byte a dimension, approximate."""
    return Faiss(folder, "SQ8")
