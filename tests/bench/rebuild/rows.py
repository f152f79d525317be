"""The rows of a drift: an index is made on some, then others take their place.

    base  ---- index ----> a fifth deleted ----> others inserted ----> rebuild
    keys 0, 1, ...                               the next keys         beside it: LOAD_KEY, ...

It is kept as one file, so that each system can read it in a process of its own.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.bench import data
from tests.bench.mixture import Mixture
from tests.bench.sets import sample

BASE, INSERTED = 150_000, 100_000
DELETED_SHARE = 0.2
QUERIES = 300
LOAD_ROWS = 2_000
"""Their vectors come again and again, under new keys."""
LOAD_KEY = 10**9
"""The first key that the load inserts: above all others."""
SEED = 20_250_103


@dataclass(frozen=True)
class Drift:
    """All rows are float32 (n, dim)."""

    base: NDArray[np.float32]
    """Their keys are 0, 1, ..."""
    deleted: NDArray[np.int64]
    """The keys of the base that are deleted, ascending."""
    inserted: NDArray[np.float32]
    """Their keys follow those of the base."""
    load: NDArray[np.float32]
    queries: NDArray[np.float32]

    @property
    def inserted_keys(self) -> NDArray[np.int64]:
        """The keys of the inserted rows."""
        return np.arange(len(self.base), len(self.base) + len(self.inserted))

    def live(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Keys and vectors of the rows that are there at the end."""
        kept = np.delete(np.arange(len(self.base)), self.deleted)
        keys = np.concatenate([kept, self.inserted_keys])
        return keys, np.concatenate([self.base[kept], self.inserted])

    def save(self, file: Path) -> None:
        """Write it to a file that `read` reads."""
        np.savez(file, **vars(self))


def read(file: Path) -> Drift:
    """The drift in a file that `Drift.save` wrote."""
    with np.load(file) as arrays:
        return Drift(**arrays)


def synthetic(scale: float) -> Drift:
    """150,000 clustered rows, of which a fifth gives way to 100,000 of a shifted distribution."""
    random = np.random.default_rng(SEED)
    before = Mixture.of(random)
    after = before.shifted(random)
    base, inserted = int(BASE * scale), int(INSERTED * scale)
    queries_after = QUERIES * INSERTED // (BASE + INSERTED)
    return Drift(
        base=before.draw(random, base),
        deleted=fifth(random, base),
        inserted=after.draw(random, inserted),
        load=after.draw(random, LOAD_ROWS),
        queries=np.concatenate(
            [before.draw(random, QUERIES - queries_after), after.draw(random, queries_after)]
        ),
    )


def wordnet(scale: float) -> Drift:
    """WordNet's nouns, of which a fifth gives way to its verbs, adjectives and adverbs.

    Raises:
        MissingError: The set can not be made on this machine.
    """
    random = np.random.default_rng(SEED)
    corpus = data.load()
    noun = corpus.keys < 2 * data.KEY_STRIDE
    nouns = sample(random, corpus.vectors[noun], scale)
    others = sample(random, corpus.vectors[~noun], scale)
    return Drift(
        base=nouns,
        deleted=fifth(random, len(nouns)),
        inserted=others[LOAD_ROWS:],
        load=others[:LOAD_ROWS],
        queries=corpus.queries[:QUERIES],
    )


def fifth(random: np.random.Generator, rows: int) -> NDArray[np.int64]:
    """A fifth of the keys 0 to `rows`."""
    return np.sort(random.choice(rows, int(rows * DELETED_SHARE), replace=False))
