"""Values of the types their columns have.

All tables are STRICT, but that only binds who writes through SQLite: of a damaged page
SQLite reads whatever type stands there, NULL or text in place of a number.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import CorruptError

Kinds = Sequence[type | tuple[type, ...]]


def require(what: str, values: Sequence[object], kinds: Kinds) -> None:
    """Raise CorruptError unless each value is of its kind."""
    for number, (value, kind) in enumerate(zip(values, kinds, strict=True)):
        if not isinstance(value, kind):
            raise CorruptError(f"{what}: value {number + 1} is of another type: {value!r:.60}")


def integers(what: str, values: Iterable[object] | None) -> NDArray[np.int64]:
    """Numbers, or their digits, as int64 (n,); CorruptError where they are none."""
    try:
        return np.array([int(value) for value in values or ()], np.int64)  # type: ignore[call-overload]  # what is no number raises
    except (TypeError, ValueError, OverflowError):
        raise CorruptError(f"{what}: a number is damaged") from None


def joined_integers(text: str | None) -> NDArray[np.int64]:
    """The numbers of rows, or their checksums, joined by commas; none for None."""
    try:
        return np.array(text.split(",") if text else [], dtype=np.int64)
    except (ValueError, OverflowError):
        raise CorruptError("the number or the checksum of a row is damaged") from None


def same_length(what: str, *columns: Sequence[Any] | NDArray[Any]) -> None:
    """Raise CorruptError for columns of which one has a value less, which was NULL."""
    if len({len(column) for column in columns}) > 1:
        raise CorruptError(f"{what}: a value is missing")
