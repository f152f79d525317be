"""A shelf: the partitions of one manifest by number, so that a search need not gather them.

    label        0     1     2     3                       a block each, None where it is not loaded
    table      [ .. ] [ .. ] [-1 ] [ .. ]                  its columns' addresses, and its rows

The compiled scan (`fused`) takes the table as it is: a search that finds all its partitions there
does nothing for any one of them.  Blocks are only added, so what a running scan reads stays; the
vectors of rows whose codes are there may come later, once.  A scan does not hold the interpreter
lock, so the number of rows is written last: who sees it sees the addresses too.
"""

import threading
from collections.abc import Iterator
from typing import Any, Final, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .arrays import Floats
from .block import Block
from .native import address
from .sq8 import Sq8Rows

CODES, STEPS, SQUARES, ERRORS, VIDS, CENTROID, ROWS, VECTORS = range(8)
"""Columns of the table: addresses, and the number of rows, -1 where there is no block.

No vectors are at address 0, nor are the codes of rows that have none.
"""

FIELDS: Final = 8

Addresses: TypeAlias = NDArray[np.int64]


class Shelf:
    """Blocks (nlist,) with int8 codes, or all of them plain, with vectors. Safe in any thread."""

    def __init__(self, nlist: int, *, plain: bool = False) -> None:
        self.plain = plain
        """Whether they have no codes."""
        self.table: Addresses = np.zeros((nlist, FIELDS), np.int64)
        self.table[:, ROWS] = -1
        self.at = address(self.table)
        """Where the table begins."""
        self.blocks: list[Block | None] = [None] * nlist
        self._guard = threading.Lock()

    @classmethod
    def of_vectors(cls, vectors: Floats) -> Self:
        """One partition of vectors (n, d), to measure as long as these are there."""
        shelf = cls(1, plain=True)
        shelf.table[0, VECTORS], shelf.table[0, ROWS] = address(vectors), len(vectors)
        return shelf

    def missing(self, labels: NDArray[np.int32]) -> list[int]:
        """Those of the partitions (m,) that have no block here, each once."""
        missing = self.table[labels, ROWS] < 0
        return _each_once(labels[missing]) if missing.any() else []

    def bare(self, labels: NDArray[np.int32]) -> list[int]:
        """Those of the partitions (m,) that have rows here but not their vectors, each once."""
        without = labels[self.table[labels, VECTORS] == 0]
        return _each_once(without[self.table[without, ROWS] > 0]) if len(without) else []

    def put(self, label: int, block: Block | None) -> None:
        """The rows of a partition, None if it has none.

        Whoever comes second is heard only if he has the vectors of the very rows that are here.
        """
        with self._guard:
            before = self.blocks[label]
            if self.table[label, ROWS] < 0:
                self.blocks[label] = block
                columns = _addresses(block)
                self.table[label, :ROWS] = columns[:ROWS]
                self.table[label, VECTORS] = columns[VECTORS]
                self.table[label, ROWS] = columns[ROWS]
            elif before is not None and block is not None and _completes(before, block):
                self.blocks[label] = block
                self.table[label, VECTORS] = _addresses(block)[VECTORS]

    def rows(self, labels: NDArray[np.int32]) -> int:
        """How many rows the partitions (m,) have."""
        return int(self.table[labels, ROWS].sum())

    def present(self, labels: NDArray[np.int32]) -> Iterator[tuple[int, Block]]:
        """The partitions that have rows, with their blocks."""
        for label in labels.tolist():
            block = self.blocks[label]
            if block is not None:
                yield label, block


def _completes(before: Block, block: Block) -> bool:
    """Whether a block has the vectors that the one before it lacks."""
    return before.vectors is None and block.vectors is not None and block.codes is before.codes


def _each_once(labels: NDArray[np.int32]) -> list[int]:
    return list(dict.fromkeys(labels.tolist()))


def _addresses(block: Block | None) -> list[int]:
    """The columns of the table, in order."""
    if block is None or not len(block):
        return [0] * FIELDS
    codes = block.codes
    vectors = 0 if block.vectors is None else address(block.vectors)
    if codes is None:
        return [0, 0, 0, 0, address(block.vids), 0, len(block), vectors]
    assert isinstance(codes, Sq8Rows), "a shelf holds int8 codes"
    columns: list[NDArray[Any]] = [codes.codes, codes.steps, codes.squares, codes.errors]
    columns += [block.vids, codes.centroid]
    return [*map(address, columns), len(block), vectors]
