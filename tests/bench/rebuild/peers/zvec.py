"""zvec's IVF: `optimize()`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.bench.data import DIM
from tests.bench.rebuild.accuracy import NPROBE
from tests.bench.rebuild.peers.peer import Keys, Vectors, main
from tests.bench.recall import K

ROWS_A_CALL = 1_000
"""It takes 1,024 at most."""


class Zvec:
    """The collection; its handle may be used by several threads."""

    def __init__(self, folder: Path) -> None:
        import zvec

        self._zvec: Any = zvec
        vectors = zvec.VectorSchema("vector", zvec.DataType.VECTOR_FP32, DIM)
        self._rows: Any = zvec.create_and_open(
            str(folder / "zvec"), zvec.CollectionSchema("rows", vectors=[vectors])
        )

    def session(self) -> Zvec:
        """The same handle."""
        return self

    def fill(self, keys: Keys, vectors: Vectors) -> None:
        """By lists of rows."""
        for start in range(0, len(keys), ROWS_A_CALL):
            some = slice(start, start + ROWS_A_CALL)
            documents = zip(keys[some].tolist(), vectors[some].tolist(), strict=True)
            self._rows.insert(
                [self._zvec.Doc(str(key), vectors={"vector": vector}) for key, vector in documents]
            )

    def index(self, nlist: int) -> None:
        """With as many lists."""
        parameters = self._zvec.IVFIndexParam(metric_type=self._zvec.MetricType.L2, n_list=nlist)
        self._rows.create_index("vector", parameters)
        self._rows.optimize()

    def delete(self, keys: Keys) -> None:
        """By lists of keys."""
        for start in range(0, len(keys), ROWS_A_CALL):
            self._rows.delete([str(key) for key in keys[start : start + ROWS_A_CALL].tolist()])

    def rebuild(self) -> None:
        """As wide as it likes."""
        self._rows.optimize()

    def insert(self, key: int, vector: NDArray[np.float32]) -> None:
        """One row."""
        self.fill(np.array([key]), vector[None, :])

    def search(self, query: NDArray[np.float32]) -> list[int]:
        """Through the index, and what came after it."""
        parameters = self._zvec.IVFQueryParam(nprobe=NPROBE)
        asked = self._zvec.Query("vector", vector=query.tolist(), param=parameters)
        return [int(document.id) for document in self._rows.query(asked, topk=K)]


if __name__ == "__main__":
    main(Zvec)
