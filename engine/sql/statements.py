"""The statements, as data; None stands for what the statement leaves open."""

from dataclasses import dataclass
from typing import Literal

from ..index.distance import Metric

Codec = Literal["flat", "sq8"]


@dataclass(frozen=True, kw_only=True)
class CreateIndex:
    """CREATE VECTOR INDEX."""

    name: str
    table: str
    metric: Metric | None = None
    target_accuracy: int | None = None
    """Percent, 1 to 100."""
    nlist: int | None = None
    samples_per_partition: int | None = None
    min_vectors_per_partition: int | None = None
    codec: Codec | None = None
    parallel: int | None = None
    if_not_exists: bool = False


@dataclass(frozen=True, kw_only=True)
class RebuildIndex:
    """ALTER INDEX ... REBUILD ONLINE."""

    name: str
    target_accuracy: int | None = None
    """Percent, 1 to 100."""
    nlist: int | None = None
    samples_per_partition: int | None = None
    min_vectors_per_partition: int | None = None
    codec: Codec | None = None
    parallel: int | None = None


@dataclass(frozen=True, kw_only=True)
class DropIndex:
    """DROP INDEX."""

    name: str
    if_exists: bool = False


Statement = CreateIndex | RebuildIndex | DropIndex
