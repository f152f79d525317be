"""A stage: what the same questions showed at one moment of the first run."""

from __future__ import annotations

from dataclasses import dataclass

from .cost import Cost
from .neighbours import Neighbours


@dataclass(frozen=True)
class Stage:
    """What one stage showed."""

    name: str
    rows: int
    nlist: int
    imbalance: float
    partition_max: int
    filed_nearest: int
    """How many places are in the partition whose centroid is nearest to them."""
    area_sizes: list[int]
    """Of each partition that holds places of the circle, how many; the largest number first."""
    curve: list[Cost]
    answers: list[Neighbours]

    @property
    def area_text(self) -> str:
        """How many places the circle holds, in how many partitions."""
        if not self.area_sizes:
            return "no place yet"
        return f"{sum(self.area_sizes):,} places in {len(self.area_sizes)} partitions"
