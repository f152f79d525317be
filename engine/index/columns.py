"""Rows held as parallel arrays: one entry of each column is one row."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Columns:
    """A frozen dataclass that names those of its fields that hold one entry per row.

    Any column but the first may be None, for all rows, and then for all rows joined to them.
    """

    COLUMNS: ClassVar[tuple[str, ...]]

    def __len__(self) -> int:
        return len(getattr(self, self.COLUMNS[0]))

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the columns take."""
        return sum(column.nbytes for _, column in self._columns())

    def slice(self, start: int, stop: int) -> Self:
        """A view of the rows from start to before stop."""
        return self._map(lambda _, column: column[start:stop])

    @classmethod
    def joined(cls, pieces: Sequence[Self]) -> Self:
        """The rows of all pieces (at least one), in order."""
        return pieces[0]._map(
            lambda name, _: np.concatenate([getattr(piece, name) for piece in pieces])
        )

    def _columns(self) -> Iterator[tuple[str, NDArray[Any]]]:
        for name in self.COLUMNS:
            column = getattr(self, name)
            if column is not None:
                yield name, column

    def _map(self, change: Callable[[str, NDArray[Any]], NDArray[Any]]) -> Self:
        return replace(self, **{name: change(name, column) for name, column in self._columns()})
