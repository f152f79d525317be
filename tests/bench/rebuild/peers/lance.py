"""LanceDB's IVF_FLAT: `create_index(replace=True)`."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.bench.data import DIM
from tests.bench.rebuild.accuracy import NPROBE
from tests.bench.rebuild.peers.peer import Keys, Vectors, main
from tests.bench.recall import K

KEYS_A_DELETE = 5_000


class Lance:
    """The table; its handle may be used by several threads."""

    def __init__(self, folder: Path) -> None:
        import lancedb
        import pyarrow

        self._arrow: Any = pyarrow
        schema = pyarrow.schema(
            [("key", pyarrow.int64()), ("vector", pyarrow.list_(pyarrow.float32(), DIM))]
        )
        self._table: Any = lancedb.connect(folder / "lance").create_table("rows", schema=schema)
        self._nlist = 0

    def session(self) -> "Lance":
        """The same handle."""
        return self

    def fill(self, keys: Keys, vectors: Vectors) -> None:
        """As one append."""
        arrow = self._arrow
        values = arrow.FixedSizeListArray.from_arrays(arrow.array(vectors.reshape(-1)), DIM)
        self._table.add(arrow.table({"key": keys, "vector": values}))

    def index(self, nlist: int) -> None:
        """With as many partitions; it takes the place of the one there is."""
        self._nlist = nlist
        self._table.create_index(
            metric="l2",
            num_partitions=nlist,
            vector_column_name="vector",
            index_type="IVF_FLAT",
            replace=True,
        )

    def delete(self, keys: Keys) -> None:
        """By lists of keys."""
        for start in range(0, len(keys), KEYS_A_DELETE):
            some = ", ".join(map(str, keys[start : start + KEYS_A_DELETE].tolist()))
            self._table.delete(f"key IN ({some})")

    def rebuild(self) -> None:
        """The index anew."""
        self.index(self._nlist)

    def insert(self, key: int, vector: NDArray[np.float32]) -> None:
        """As one append."""
        self.fill(np.array([key]), vector[None, :])

    def search(self, query: NDArray[np.float32]) -> list[int]:
        """Through the index, and what came after it."""
        found = self._table.search(query).nprobes(NPROBE).limit(K).select(["key"]).to_arrow()
        keys: list[int] = found["key"].to_pylist()
        return keys


if __name__ == "__main__":
    main(Lance)
