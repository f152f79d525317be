"""What a search returns: rows, nearest first, and what finding them cost."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from ...wal.types import Key, Lsn
from ..storage.lookup import Answer
from .inputs import Payload, decoded

SHOWN_CHARACTERS = 60


@dataclass(frozen=True)
class Row:
    """A row. vector: float32 (dim,), None where it was not asked for."""

    id: Key
    payload: Payload = None
    vector: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Hit:
    """One row found. distance: in the units of the metric."""

    id: Key
    distance: float
    payload: Payload


@dataclass(frozen=True, eq=False)
class Hits(Sequence[Hit]):
    """The rows found by one query, nearest first; equal distances go by age.

    distances: float64 (m,), m <= k; `rows_scanned` rows were looked at in
    `partitions_probed` partitions (0 for an exact search), at the state `lsn`.
    """

    ids: list[Key]
    distances: NDArray[np.float64]
    payloads: list[Payload]
    lsn: Lsn
    rows_scanned: int
    partitions_probed: int

    @classmethod
    def of(cls, answer: Answer, lsn: Lsn) -> "Hits":
        """From what the engine found."""
        return cls(
            list(answer.keys),
            answer.distances,
            [decoded(payload) for payload in answer.payloads],
            lsn,
            answer.rows_scanned,
            answer.partitions_probed,
        )

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, at: int) -> Hit: ...

    @overload
    def __getitem__(self, at: slice) -> list[Hit]: ...

    def __getitem__(self, at: int | slice) -> Hit | list[Hit]:
        if isinstance(at, slice):
            return [self[position] for position in range(*at.indices(len(self)))]
        return Hit(self.ids[at], float(self.distances[at]), self.payloads[at])

    def __iter__(self) -> Iterator[Hit]:
        return (self[position] for position in range(len(self)))

    def __repr__(self) -> str:
        """A table: one line a row."""
        lines = [("id", "distance", "payload")]
        lines += [(repr(hit.id), f"{hit.distance:.6g}", _shown(hit.payload)) for hit in self]
        widths = [max(len(line[column]) for line in lines) for column in range(2)]
        return "\n".join(
            f"{key:>{widths[0]}}  {distance:>{widths[1]}}  {payload}".rstrip()
            for key, distance, payload in lines
        )


def _shown(payload: Any) -> str:
    text = "" if payload is None else str(payload)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 1]}…"
