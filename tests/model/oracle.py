"""The oracle: a table as a dict of rows, searched by measuring every one of them.

A row's place in the order of commits stands for its vid: of two rows equally far
from a query, the one that was written first is the nearer.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from centroidb.engine.index.distance import Metric, distances
from centroidb.wal.types import Key, KeyType

Vector = NDArray[np.float32]
Found = tuple[list[Key], list[float]]
"""Keys and distances, nearest first."""


@dataclass(frozen=True, eq=False)
class Version:
    """A row as it was written. order: later writes have larger ones."""

    order: int
    vector: Vector
    payload: Any


@dataclass(frozen=True)
class Kind:
    """What a table is made for."""

    name: str
    dim: int
    metric: Metric
    key_type: KeyType


@dataclass(frozen=True, eq=False)
class TableState:
    """All rows of a table at one commit."""

    kind: Kind
    rows: Mapping[Key, Version]

    @cached_property
    def _columns(self) -> tuple[list[Key], NDArray[np.int64], Vector]:
        keys = sorted(self.rows, key=lambda key: self.rows[key].order)
        orders = np.array([self.rows[key].order for key in keys], np.int64)
        vectors = [self.rows[key].vector for key in keys]
        return keys, orders, np.array(vectors, np.float32).reshape(len(keys), self.kind.dim)

    def keys_in_order(self) -> list[Key]:
        """All keys, that of the oldest version first."""
        return self._columns[0]

    def nearest(self, metric: Metric, query: Vector, k: int) -> Found:
        """The k nearest rows; every one is measured."""
        keys, orders, vectors = self._columns
        measured = distances(metric, query, vectors)
        np.testing.assert_allclose(measured, by_formula(metric, query, vectors), 1e-9, 1e-9)
        order = np.lexsort((orders, measured))[:k]
        return [keys[at] for at in order], measured[order].tolist()

    def measured(self, metric: Metric, query: Vector, keys: list[Key]) -> list[float]:
        """The distances of these rows."""
        vectors = np.array([self.rows[key].vector for key in keys], np.float32)
        found: list[float] = distances(
            metric, query, vectors.reshape(len(keys), self.kind.dim)
        ).tolist()
        return found


def by_formula(metric: Metric, query: Vector, vectors: Vector) -> NDArray[np.float64]:
    """Distances as a textbook has them, float64."""
    rows, wanted = vectors.astype(np.float64), query.astype(np.float64)
    products: NDArray[np.float64] = rows @ wanted
    if metric == "dot":
        return -products
    if metric == "cosine":
        norms: NDArray[np.float64] = np.linalg.norm(rows, axis=1) * np.linalg.norm(wanted)
        return 1 - products / norms
    differences: NDArray[np.float64] = np.linalg.norm(rows - wanted, axis=1)
    return differences


@dataclass(eq=False)
class TableModel:
    """A table that is written to. `clock` counts the commits of the whole database."""

    kind: Kind
    rows: dict[Key, Version] = field(default_factory=dict)
    changed_at: dict[Key, int] = field(default_factory=dict)
    """The commit that changed each key last."""
    table_changed_at: int = 0
    _written: int = 0
    _state: TableState | None = None

    def state(self) -> TableState:
        """All rows as they are now."""
        if self._state is None:
            self._state = TableState(self.kind, dict(self.rows))
        return self._state

    def put(self, key: Key, vector: Vector, payload: Any, now: int) -> None:
        """Write a row, in the commit `now`."""
        self._written += 1
        self.rows[key] = Version(self._written, vector, payload)
        self._changed(key, now)

    def delete(self, key: Key, now: int) -> bool:
        """Delete a row; False when there is none, which changes nothing."""
        if key not in self.rows:
            return False
        del self.rows[key]
        self._changed(key, now)
        return True

    def _changed(self, key: Key, now: int) -> None:
        self.changed_at[key] = self.table_changed_at = now
        self._state = None
