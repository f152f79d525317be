"""What the writers of a child do: worked out from a seed, so that the parent knows it too.

Each writer has its own keys. Its deed number n is the same each time it is asked for,
so a log of numbers is enough to know what must be in the file.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

WRITERS = 3
KEYS = 120
DIM = 4

Rows = dict[int, int | None]
"""Vector number by key; None: the row is deleted."""
State = Mapping[int, int]
"""Vector number by key, of the rows there are."""


@dataclass(frozen=True)
class Deed:
    """One call. `rows` are in the order in which they are given."""

    how: Literal["upsert", "delete", "transaction"]
    rows: Rows

    def outcomes(self, before: State) -> list[State]:
        """The states a crash during this call may leave, the full one last.

        An upsert is cut into commits in order; a delete of few rows and a transaction are whole.
        """
        if self.how != "upsert":
            return [before, applied(before, self.rows)]
        done = [dict(list(self.rows.items())[:count]) for count in range(len(self.rows) + 1)]
        return [applied(before, rows) for rows in done]


def applied(before: State, rows: Rows) -> State:
    """The state after these changes."""
    after: Rows = {**before, **rows}
    return {key: number for key, number in after.items() if number is not None}


def deed(seed: int, writer: int, number: int) -> Deed:
    """What a writer does as its `number`th."""
    random = np.random.default_rng([seed, writer, number])
    how: Any = random.choice(["upsert", "delete", "transaction"], p=[0.6, 0.2, 0.2])
    count = int(random.integers(1, 80 if how == "upsert" else 20))
    keys = writer * KEYS + random.choice(KEYS, count, replace=False)
    rows: Rows = {int(key): number * 1_000 + at for at, key in enumerate(keys)}
    if how == "delete":
        rows = dict.fromkeys(rows)
    if how == "transaction":
        rows = {key: row if at % 3 else None for at, (key, row) in enumerate(rows.items())}
    return Deed(how, rows)


def vector(number: int) -> NDArray[np.float32]:
    """The vector of a number, float32 (DIM,)."""
    return np.random.default_rng(number).normal(size=DIM).astype(np.float32)
