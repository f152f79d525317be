"""What a build did."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """Times in seconds; `imbalance_before` is None for a first build."""

    index: str
    generation: int
    nlist: int
    rows: int
    rows_caught_up: int
    seconds: float
    writers_held_s: float
    imbalance_before: float | None
    imbalance_after: float
