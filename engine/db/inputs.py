"""What users hand in, checked before anything is written.

Every refusal names the table, the row, what was expected and what came. Checks
on vectors are on whole arrays; the first row that is wrong is the one named.
"""

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...wal.catalog import TableRow
from ...wal.errors import CorruptError, InputError, NotFoundError
from ...wal.limits import Limits
from ...wal.types import Key, KeyType
from ..index.distance import squared_norms

INT64_MAX = (1 << 63) - 1
SURELY = 0.5
"""A sum of squares in float32 is off by much less, whatever the dimension."""
NAME_BYTES = 255

Payload = Any
"""Anything that JSON can say: dict, list, str, number, bool, None."""


def check_name(kind: str, name: object) -> str:
    """The name of a table or index, if it can be one."""
    if not isinstance(name, str) or not name.strip():
        raise InputError(f"{kind} name: expected text, got {name!r}")
    if not _is_text(name) or "\0" in name or len(name.encode()) > NAME_BYTES:
        raise InputError(f"{kind} name: expected UTF-8 text of at most {NAME_BYTES} bytes")
    return name


def unknown(kind: str, name: str, known: Iterable[str]) -> NotFoundError:
    """The error for a name that is not there, with the names that are."""
    check_name(kind, name)
    names = sorted(known)
    alike = difflib.get_close_matches(name, names, n=1)
    if alike:
        return NotFoundError(f"no {kind} named {name!r}; did you mean {alike[0]!r}?")
    listed = ", ".join(map(repr, names[:10])) or "none"
    return NotFoundError(f"no {kind} named {name!r}; there are: {listed}")


def check_integer(name: str, value: object, smallest: int, largest: int) -> int:
    """An integer within bounds."""
    if isinstance(value, np.integer):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise InputError(f"{name}: expected an integer, got {value!r}")
    if not smallest <= value <= largest:
        raise InputError(f"{name}: expected {smallest} to {largest}, got {value}")
    return value


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class Inputs:
    """Checks what is meant for one table."""

    def __init__(self, table: TableRow, limits: Limits) -> None:
        self._table = table
        self._limits = limits

    @property
    def _where(self) -> str:
        return f"table {self._table.name!r}"

    def key(self, key: object, row: int = 0) -> Key:
        """One key, as int or str."""
        if isinstance(key, np.generic):
            key = key.item()
        expected: KeyType = self._table.key_type
        if expected == "int" and isinstance(key, int) and not isinstance(key, bool):
            if -INT64_MAX - 1 <= key <= INT64_MAX:
                return key
            raise InputError(f"{self._where}, row {row}: key {key} does not fit in 64 bits")
        if expected == "str" and isinstance(key, str):
            if _is_text(key) and len(key.encode()) <= self._limits.key_bytes:
                return key
            raise InputError(
                f"{self._where}, row {row}: key is not UTF-8 text of at most "
                f"{self._limits.key_bytes} bytes: {key[:40]!r}"
            )
        raise InputError(
            f"{self._where}, row {row}: expected a key of type {expected}, "
            f"got {type(key).__name__} {key!r}"
        )

    def keys(self, keys: object) -> list[Key]:
        """One key, or any sequence of them."""
        if isinstance(keys, np.ndarray) and keys.ndim == 1:
            if keys.dtype.kind == "i" and self._table.key_type == "int":
                return list(keys.tolist())  # all of them fit in 64 bits
            keys = keys.tolist()
        if isinstance(keys, str | bytes) or not isinstance(keys, Iterable):
            return [self.key(keys)]
        return [self.key(key, row) for row, key in enumerate(keys)]

    def vectors(
        self, vectors: ArrayLike, what: str = "vector", metric: str | None = None
    ) -> NDArray[np.float32]:
        """float32 (n, dim), C-contiguous, of one vector (dim,) or several (n, dim).

        metric: what they are compared by; by default the table's.
        """
        given = self._array(vectors, what)
        if given.ndim == 1:
            given = given.reshape(1, -1)
        if given.ndim != 2 or given.shape[1] != self._table.dim:
            raise InputError(
                f"{self._where}: expected a {what} of {self._table.dim} dimensions, "
                f"got shape {np.shape(vectors)}"
            )
        checked = _narrowed(given)
        checked.flags.writeable = False  # a copy, and kept: the caller may fill its array anew
        if len(checked) > 1 and self._are_surely_good(checked):
            return checked
        squares = self._refuse_bad_values(checked, what)
        if (metric or self._table.metric) == "cosine":
            self._refuse_zero(squares, what)
        return checked

    def _array(self, vectors: ArrayLike, what: str) -> NDArray[Any]:
        try:
            given = np.asarray(vectors)
        except ValueError as error:
            raise InputError(
                f"{self._where}: {what}s are not all of {self._table.dim} dimensions ({error})"
            ) from None
        if given.dtype.kind not in "fiu":
            raise InputError(f"{self._where}: expected {what}s of numbers, got {given.dtype}")
        return given

    def _are_surely_good(self, vectors: NDArray[np.float32]) -> bool:
        """Whether float32 sums tell already that all norms are small enough, and none is zero."""
        with np.errstate(all="ignore"):
            squares = np.vecdot(vectors, vectors)
        largest = np.maximum.reduce(squares, initial=0)
        smallest = np.minimum.reduce(squares, initial=np.inf)
        return bool(smallest > 0 and largest < SURELY * self._limits.vector_norm**2)

    def _refuse_bad_values(self, vectors: NDArray[np.float32], what: str) -> NDArray[np.float64]:
        """The squared norms, float64 (n,), all finite and small enough."""
        squares = squared_norms(vectors)
        limit = self._limits.vector_norm**2
        if not np.maximum.reduce(squares, initial=0) <= limit:  # what is no number is neither
            row = int(np.argmin(squares <= limit))
            bad = vectors[row][~np.isfinite(vectors[row])]
            got = f"{bad[0]}" if len(bad) else f"norm {np.sqrt(squares[row]):.3g}"
            raise InputError(
                f"{self._where}, row {row}: expected a finite {what} of norm at most "
                f"{self._limits.vector_norm:g}, got {got}"
            )
        return squares

    def _refuse_zero(self, squares: NDArray[np.float64], what: str) -> None:
        """Raise InputError for a row without a direction, which cosine can not compare."""
        if not np.minimum.reduce(squares, initial=1):
            row = int(np.argmin(squares))
            raise InputError(f"{self._where}, row {row}: a zero {what} has no cosine distance")

    def payloads(self, payloads: object, n: int) -> list[str | None]:
        """JSON texts of `n` payloads; None for rows without one, or for all."""
        if payloads is None:
            return [None] * n
        if isinstance(payloads, Mapping | str):
            payloads = [payloads]
        if not isinstance(payloads, Iterable):
            raise InputError(f"{self._where}: expected a payload a row, got {payloads!r}")
        found = [self._payload(payload, row) for row, payload in enumerate(payloads)]
        if len(found) != n:
            raise InputError(f"{self._where}: expected {n} payloads, got {len(found)}")
        return found

    def _payload(self, payload: Payload, row: int) -> str | None:
        if payload is None:
            return None
        try:
            text = json.dumps(payload, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
            size = len(text.encode())
        except (TypeError, ValueError, RecursionError) as error:
            raise InputError(f"{self._where}, row {row}: payload is not JSON: {error}") from None
        depth = self._limits.payload_depth
        if text.count("[") + text.count("{") > depth and _deeper_than(depth, payload):
            raise InputError(
                f"{self._where}, row {row}: payload is nested deeper than {depth} levels"
            )
        if size > self._limits.payload_bytes:
            raise InputError(
                f"{self._where}, row {row}: payload of {size} bytes, "
                f"expected at most {self._limits.payload_bytes}"
            )
        return text

    def same_length(self, keys: Sequence[Key], vectors: NDArray[np.float32]) -> None:
        """Raise InputError unless there is one vector a key."""
        if len(keys) != len(vectors):
            raise InputError(f"{self._where}: {len(keys)} keys but {len(vectors)} vectors")


def _narrowed(vectors: NDArray[Any]) -> NDArray[np.float32]:
    """A float32 copy, C-contiguous; what is too large becomes infinite."""
    if vectors.dtype == np.float32:
        return np.array(vectors, order="C")
    with np.errstate(over="ignore"):
        return np.array(vectors, dtype=np.float32, order="C")


def _deeper_than(levels: int, payload: Payload) -> bool:
    """Whether lists and dicts are nested more than `levels` deep."""
    if not isinstance(payload, Mapping | list | tuple):
        return False
    inside = payload.values() if isinstance(payload, Mapping) else payload
    return levels == 0 or any(_deeper_than(levels - 1, each) for each in inside)


def decoded(payload: str | None) -> Payload:
    """What a stored payload says; CorruptError where it is no JSON that a table takes."""
    if payload is None:
        return None
    try:
        return json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise CorruptError(f"a stored payload is damaged: {payload[:40]!r}: {error}") from None
