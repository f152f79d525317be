"""One in, one out; many in, many out: shaping results after their arguments."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from ...wal.types import Lsn

T = TypeVar("T")

NOTHING_WRITTEN = Lsn(0)


@dataclass(frozen=True)
class WriteResult:
    """What a write did. `lsn` is the last commit of it, from which on all of it can be seen."""

    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    lsn: Lsn = NOTHING_WRITTEN

    def __add__(self, other: "WriteResult") -> "WriteResult":
        return WriteResult(
            self.inserted + other.inserted,
            self.updated + other.updated,
            self.deleted + other.deleted,
            max(self.lsn, other.lsn),
        )


def is_one_key(ids: object) -> bool:
    """Whether `ids` is a key, not a sequence of keys."""
    return isinstance(ids, int | str | bytes) or not isinstance(ids, Iterable)


def one_or_many(ids: object, results: Sequence[T]) -> T | list[T]:
    """A result for a key, a list for keys."""
    return results[0] if is_one_key(ids) else list(results)


def shaped(query: ArrayLike, results: list[Any]) -> Any:
    """A result for one query vector, a list for several."""
    return results[0] if np.ndim(query) == 1 else results
