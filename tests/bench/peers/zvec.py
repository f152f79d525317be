"""zvec's IVF: rebuilt by `optimize()`."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.bench.peers.peer import Keys, Peer, Vectors
from tests.bench.recall import K

ROWS_A_CALL = 1_000
"""It takes 1,024 at most."""


class Zvec(Peer):
    """The collection; its handle may be used by several threads."""

    def __init__(self, folder: Path, dim: int) -> None:
        import zvec

        self._zvec: Any = zvec
        path = folder / "zvec"
        self._rows: Any = zvec.open(str(path)) if path.exists() else self._made(path, dim)

    def _made(self, path: Path, dim: int) -> Any:
        zvec = self._zvec
        vectors = zvec.VectorSchema("vector", zvec.DataType.VECTOR_FP32, dim)
        return zvec.create_and_open(str(path), zvec.CollectionSchema("rows", vectors=[vectors]))

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

    def search(self, query: NDArray[np.float32], effort: int) -> list[int]:
        """Through the index, and what came after it."""
        parameters = self._zvec.IVFQueryParam(nprobe=effort)
        asked = self._zvec.Query("vector", vector=query.tolist(), param=parameters)
        return [int(document.id) for document in self._rows.query(asked, topk=K)]

    def close(self) -> None:
        """Write what is in memory."""
        self._rows.flush()
        del self._rows
