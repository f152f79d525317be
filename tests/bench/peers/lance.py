"""LanceDB's IVF_FLAT: rebuilt by `create_index(replace=True)`."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.bench.peers.peer import Keys, Peer, Vectors
from tests.bench.recall import K

KEYS_A_DELETE = 5_000
NAME = "rows"


class Lance(Peer):
    """The table; its handle may be used by several threads."""

    def __init__(self, folder: Path, dim: int) -> None:
        import lancedb
        import pyarrow

        self._arrow: Any = pyarrow
        self._dim = dim
        self._nlist = 0
        database: Any = lancedb.connect(folder / "lance")
        schema = pyarrow.schema(
            [("key", pyarrow.int64()), ("vector", pyarrow.list_(pyarrow.float32(), dim))]
        )
        self._table: Any = database.create_table(NAME, schema=schema, exist_ok=True)

    def fill(self, keys: Keys, vectors: Vectors) -> None:
        """As one append."""
        arrow = self._arrow
        values = arrow.FixedSizeListArray.from_arrays(arrow.array(vectors.reshape(-1)), self._dim)
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

    def search(self, query: NDArray[np.float32], effort: int) -> list[int]:
        """Through the index, and what came after it."""
        found = self._table.search(query).nprobes(effort).limit(K).select(["key"]).to_arrow()
        keys: list[int] = found["key"].to_pylist()
        return keys
