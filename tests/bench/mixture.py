"""Synthetic rows: topics in 24 dimensions, laid into 256 or so, with a little noise in all."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tests.bench.data import DIM

LATENT = 24
TOPICS = 300
SPREAD, NOISE = 0.8, 0.1
SHIFT = 6.0


@dataclass(frozen=True)
class Mixture:
    """Normal clusters of equal size and width."""

    topics: NDArray[np.float64]
    """Their centres, (t, 24)."""
    projection: NDArray[np.float64]
    """(24, dim)."""

    @classmethod
    def of(cls, random: np.random.Generator, dim: int = DIM) -> "Mixture":
        """A mixture about the origin."""
        return cls(
            topics=1.5 * random.normal(size=(TOPICS, LATENT)),
            projection=random.normal(size=(LATENT, dim)) / np.sqrt(LATENT),
        )

    def shifted(self, random: np.random.Generator, shift: float = SHIFT) -> "Mixture":
        """Other topics, closer together, away from the origin in a random direction."""
        direction = random.normal(size=LATENT)
        middle = shift * direction / np.linalg.norm(direction)
        return replace(self, topics=middle + random.normal(size=(TOPICS, LATENT)))

    def draw(self, random: np.random.Generator, rows: int) -> NDArray[np.float32]:
        """Vectors float32 (rows, dim)."""
        topics = self.topics[random.integers(0, len(self.topics), rows)]
        latent = topics + SPREAD * random.normal(size=topics.shape)
        noise = NOISE * random.normal(size=(rows, self.projection.shape[1]))
        return (latent @ self.projection + noise).astype(np.float32)
