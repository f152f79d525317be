"""The statements, as data; None stands for what the statement leaves open.

A field is named like the parameter of the method that the statement calls.
"""

from dataclasses import dataclass
from typing import Literal

from ..index.distance import Metric

Codec = Literal["flat", "sq8"]


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """What CREATE VECTOR INDEX and REBUILD ONLINE have in common."""

    metric: Metric | None = None
    target_accuracy: int | None = None
    """Percent, 1 to 100."""
    nlist: int | None = None
    samples_per_partition: int | None = None
    min_vectors_per_partition: int | None = None
    codec: Codec | None = None
    centroid_search: Literal["auto", "exact", "hnsw"] | None = None
    balance: bool | None = None
    memory_bytes: int | None = None
    seed: int | None = None
    parallel: int | None = None


@dataclass(frozen=True, kw_only=True)
class CreateIndex(Parameters):
    """CREATE VECTOR INDEX."""

    name: str
    table: str
    auto_rebuild: Literal["off", "advise", "on"] | None = None
    if_not_exists: bool = False


@dataclass(frozen=True, kw_only=True)
class RebuildIndex(Parameters):
    """ALTER INDEX ... REBUILD ONLINE."""

    name: str
    keep_previous: int | None = None
    throttle: float | int | None = None
    max_duration: int | None = None
    """Seconds."""


@dataclass(frozen=True, kw_only=True)
class PauseRebuild:
    """ALTER INDEX ... REBUILD PAUSE."""

    name: str


@dataclass(frozen=True, kw_only=True)
class ResumeRebuild:
    """ALTER INDEX ... REBUILD RESUME."""

    name: str
    parallel: int | None = None
    throttle: float | int | None = None
    max_duration: int | None = None
    """Seconds."""


@dataclass(frozen=True, kw_only=True)
class AbortRebuild:
    """ALTER INDEX ... REBUILD ABORT."""

    name: str


@dataclass(frozen=True, kw_only=True)
class RollBack:
    """ALTER INDEX ... ROLLBACK."""

    name: str
    parallel: int | None = None


@dataclass(frozen=True, kw_only=True)
class Reorganize:
    """ALTER INDEX ... REORGANIZE."""

    name: str
    partitions: int | None = None
    parallel: int | None = None


@dataclass(frozen=True, kw_only=True)
class SetIndex:
    """ALTER INDEX ... SET."""

    name: str
    auto_rebuild: Literal["off", "advise", "on"] | None = None
    keep_previous: int | None = None


@dataclass(frozen=True, kw_only=True)
class ExplainRebuild:
    """EXPLAIN REBUILD."""

    name: str


@dataclass(frozen=True, kw_only=True)
class DropIndex:
    """DROP INDEX."""

    name: str
    if_exists: bool = False


Statement = (
    CreateIndex
    | RebuildIndex
    | PauseRebuild
    | ResumeRebuild
    | AbortRebuild
    | RollBack
    | Reorganize
    | SetIndex
    | ExplainRebuild
    | DropIndex
)
