"""A shelf: the partitions of one manifest by number, so that a search need not gather them.

    label        0     1     2     3                       a block each, None where it is not loaded
    table      [ .. ] [ .. ] [-1 ] [ .. ]                  its columns' addresses, and its rows

The compiled scan (`fused`) takes the table as it is: a search that finds all its partitions there
does nothing for any one of them.  Blocks are only added, so what a running scan reads stays.
"""

import threading
from collections.abc import Iterator
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .block import Block
from .sq8 import Sq8Rows

FIELDS: Final = 8
ROWS: Final = 6
"""The column of the table with the number of rows; -1 where there is no block."""

Addresses: TypeAlias = NDArray[np.int64]


class Shelf:
    """Blocks (nlist,) with int8 codes. Safe in any thread."""

    def __init__(self, nlist: int) -> None:
        self.table: Addresses = np.zeros((nlist, FIELDS), np.int64)
        self.table[:, ROWS] = -1
        self.blocks: list[Block | None] = [None] * nlist
        self._guard = threading.Lock()

    def missing(self, labels: NDArray[np.int32]) -> list[int]:
        """Those of the partitions that have no block here, each once."""
        absent = labels[self.table[labels, ROWS] < 0]
        return list(dict.fromkeys(absent.tolist())) if len(absent) else []

    def put(self, label: int, block: Block | None) -> None:
        """The rows of a partition, None if it has none; whoever comes second is not heard."""
        with self._guard:
            if self.table[label, ROWS] >= 0:
                return
            self.blocks[label] = block
            self.table[label] = _addresses(block)

    def rows(self, labels: NDArray[np.int32]) -> int:
        """How many rows the partitions (m,) have."""
        return int(self.table[labels, ROWS].sum())

    def present(self, labels: NDArray[np.int32]) -> Iterator[tuple[int, Block]]:
        """The partitions that have rows, with their blocks."""
        for label in labels.tolist():
            block = self.blocks[label]
            if block is not None:
                yield label, block


def _addresses(block: Block | None) -> list[int]:
    """The columns of the table; `fused` names them."""
    if block is None or not len(block):
        return [0] * FIELDS
    codes = block.codes
    assert isinstance(codes, Sq8Rows), "a shelf holds int8 codes"
    columns: list[NDArray[Any]] = [codes.codes, codes.steps, codes.squares, codes.errors]
    columns += [block.vids, codes.centroid]
    vectors = 0 if block.vectors is None else _address(block.vectors)
    return [*map(_address, columns), len(block), vectors]


def _address(column: NDArray[Any]) -> int:
    assert column.flags.c_contiguous, "a column is one piece of memory"
    address: int = column.__array_interface__["data"][0]
    return address
