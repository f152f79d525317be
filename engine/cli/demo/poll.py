"""A poll: what many indexes, each with a seed of its own, answer to one question."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .neighbours import Neighbours


@dataclass(frozen=True)
class Poll:
    """One answer a seed, all to the same question about the same places."""

    answers: list[Neighbours]

    @cached_property
    def shares(self) -> NDArray[np.float64]:
        """The share of the true three that each seed found, shape (seeds,)."""
        return np.array([answer.share for answer in self.answers])

    @property
    def commonest(self) -> tuple[Neighbours, int]:
        """The answer that most seeds give, and how many do."""
        counts = Counter(tuple(answer.found) for answer in self.answers)
        (found, count) = counts.most_common(1)[0]
        return next(answer for answer in self.answers if tuple(answer.found) == found), count


@dataclass(frozen=True)
class Change:
    """Two polls of the same seeds, one after the other."""

    before: Poll
    after: Poll

    @cached_property
    def _differences(self) -> NDArray[np.float64]:
        return self.after.shares - self.before.shares

    @property
    def better(self) -> int:
        """How many seeds find more than before."""
        return int(np.count_nonzero(self._differences > 0))

    @property
    def worse(self) -> int:
        """How many seeds find less than before."""
        return int(np.count_nonzero(self._differences < 0))

    @property
    def mean(self) -> float:
        """The mean change of the share."""
        return float(self._differences.mean())

    @property
    def standard_error(self) -> float:
        """Of that mean: the seeds' standard deviation over the root of their number."""
        return float(self._differences.std(ddof=1) / np.sqrt(len(self._differences)))
