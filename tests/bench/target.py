"""A target: what a figure should be, and what it is."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from tests.bench.tables import markdown


@dataclass(frozen=True)
class Target:
    """A figure that should be at most so much, or at least."""

    what: str
    bound: float
    measured: float
    """nan if it was not measured."""
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Whether it was reached."""
        if self.at_least:
            return self.measured >= self.bound
        return self.measured <= self.bound

    def line(self) -> list[str]:
        """For a table."""
        bound = f"{'>=' if self.at_least else '<='} {self.bound:,.4g}"
        if math.isnan(self.measured):
            return [self.what, bound, "", "not measured"]
        return [self.what, bound, f"{self.measured:,.4g}", "yes" if self.met else "no"]


def table(targets: Iterable[Target]) -> str:
    """All of them as Markdown."""
    return markdown(["target", "bound", "measured", "met"], [target.line() for target in targets])
