"""Streams of changes: what comes and goes in an epoch.

change   3 % of the rows leave, whichever; as many come, of a distribution that wanders
         (30 epochs of 3 %, as in MicroNN, https://arxiv.org/abs/2504.05573)
window   the oldest leave; as many come, of topics that were not there before;
         after 30 epochs no row of the first is left
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tests.bench.mixture import SHIFT, Mixture

EPOCHS = 30
CHANGED_SHARE = 0.03
QUERIES = 100
SEED = 20_250_106

Kind = Literal["change", "window"]


@dataclass(frozen=True)
class Epoch:
    """What leaves and what comes, and then all that is there; keys ascend with age."""

    deleted: NDArray[np.int64]
    inserted_keys: NDArray[np.int64]
    inserted: NDArray[np.float32]
    keys: NDArray[np.int64]
    vectors: NDArray[np.float32]
    queries: NDArray[np.float32]
    """Near rows that are there."""


def stream(kind: Kind, rows: int) -> Iterator[Epoch]:
    """The first epoch only inserts; EPOCHS of changes follow."""
    random = np.random.default_rng(SEED)
    first = Mixture.of(random)
    keys = np.arange(rows)
    vectors = first.draw(random, rows)
    yield Epoch(keys[:0], keys, vectors, keys, vectors, near(random, vectors))
    for number in range(1, EPOCHS + 1):
        mixture = first.shifted(random, SHIFT * number / EPOCHS)
        count = round(rows * (CHANGED_SHARE if kind == "change" else 1 / EPOCHS))
        gone = leaving(kind, random, rows, count)
        deleted = keys[gone]
        come = mixture.draw(random, count)
        come_keys = np.arange(keys[-1] + 1, keys[-1] + 1 + count)
        keys = np.concatenate([np.delete(keys, gone), come_keys])
        vectors = np.concatenate([np.delete(vectors, gone, axis=0), come])
        yield Epoch(deleted, come_keys, come, keys, vectors, near(random, vectors))


def leaving(kind: Kind, random: np.random.Generator, rows: int, count: int) -> NDArray[np.int64]:
    """Which rows leave, by place."""
    if kind == "window":
        return np.arange(count)
    return np.sort(random.choice(rows, count, replace=False))


def near(random: np.random.Generator, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Queries between pairs of rows that are there: a little off the first, towards the second."""
    ones, others = random.integers(0, len(vectors), (2, QUERIES))
    mixed: NDArray[np.float32] = np.float32(0.9) * vectors[ones] + np.float32(0.1) * vectors[others]
    return mixed
