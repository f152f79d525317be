"""What an index was asked to be; each build works the open ones out from the rows there are."""

from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from ...wal.errors import CorruptError, InputError
from .distance import Metric
from .kmeans import default_nlist

SQ8_DIMS_MIN = 65
"""Below, a row is a few hundred bytes and is scanned as fast as its codes and bounds."""

PROBED_SHARE = 10
PROBED_MIN = 8

CentroidSearchKind = Literal["auto", "exact", "hnsw"]

AutoRebuild = Literal["off", "advise", "on"]

_CHOICES = {
    "codec": ("auto", "flat", "sq8"),
    "centroid_search": ("auto", "exact", "hnsw"),
    "metric": ("l2", "cosine", "dot"),
    "start": ("sample", "kmeans++"),
    "auto_rebuild": ("off", "advise", "on"),
    "balance": (True, False),
}
NLIST_MAX = 65_535
KEPT_MAX = 16
"""Generations kept for a rollback, at most."""
_INTEGER_MAX = (1 << 63) - 1
_RANGES = {
    "nlist": (1, NLIST_MAX),
    "samples_per_partition": (1, _INTEGER_MAX),
    "min_vectors_per_partition": (0, _INTEGER_MAX),
    "seed": (0, _INTEGER_MAX),
    "target_accuracy": (1, 100),
    "memory_bytes": (1, _INTEGER_MAX),
    "keep_previous": (0, KEPT_MAX),
    "keep_previous_s": (0, _INTEGER_MAX),
}
_OPTIONAL = ("nlist", "memory_bytes", "target_accuracy")


@dataclass(frozen=True, kw_only=True)
class IndexParameters:
    """The parameters of an index. None: worked out at each build.

    Raises InputError, naming the parameter, for a value that can not be.
    """

    metric: Metric
    nlist: int | None = None
    samples_per_partition: int = 100
    min_vectors_per_partition: int = 0
    codec: Literal["auto", "flat", "sq8"] = "auto"
    centroid_search: CentroidSearchKind = "auto"
    seed: int = 0
    start: Literal["sample", "kmeans++"] = "sample"
    balance: bool = True
    target_accuracy: int | None = None
    memory_bytes: int | None = None
    """What a build may take at most; None: no limit. A smaller sample makes other centroids."""
    keep_previous: int = 0
    """How many replaced generations are kept for a rollback."""
    keep_previous_s: int = 0
    """How old a kept generation may become; 0: no limit."""
    auto_rebuild: AutoRebuild = "advise"
    """What the Monitor does when the index should be rebuilt: nothing, say so, or do it."""

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            value = getattr(self, name)
            if value not in allowed:
                expected = ", ".join(map(str, allowed))
                raise InputError(f"{name}: expected one of {expected}, got {value!r}")
        for name, (smallest, largest) in _RANGES.items():
            value = getattr(self, name)
            if not (name in _OPTIONAL and value is None):
                _require_integer(name, value, smallest, largest)

    def changed(self, **changes: Any) -> "IndexParameters":
        """The same with new values for those that are not None."""
        return replace(
            self, **{name: value for name, value in changes.items() if value is not None}
        )

    def to_json(self) -> dict[str, Any]:
        """What is stored in `indexes.parameters`."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> "IndexParameters":
        """What `to_json` gave; CorruptError for a name or a value that is not known."""
        unknown = stored.keys() - {field.name for field in fields(cls)}
        if unknown:
            raise CorruptError(f"unknown index parameters: {', '.join(sorted(unknown))}")
        try:
            return cls(**stored)
        except (InputError, TypeError) as error:
            raise CorruptError(f"stored index parameters: {error}") from None

    def codec_for(self, dim: int) -> Literal["flat", "sq8"]:
        """The codec of a build over vectors of `dim` dimensions."""
        if self.codec != "auto":
            return self.codec
        return "sq8" if dim >= SQ8_DIMS_MIN else "flat"

    def nlist_for(self, rows: int) -> int:
        """Partitions of a build over so many rows."""
        return min(self.nlist or default_nlist(rows), max(1, rows))

    def rows_to_train(self, default: int) -> int:
        """An index stays exact below this many rows."""
        return max(1, default if self.nlist is None else 2 * self.nlist)


def default_nprobe(nlist: int) -> int:
    """How many partitions a search looks at: a tenth of them, at least 8, at most all."""
    return min(nlist, max(PROBED_MIN, -(-nlist // PROBED_SHARE)))


def _require_integer(name: str, value: object, smallest: int, largest: int) -> None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or not smallest <= value <= largest:  # type: ignore[operator]  # it is an int
        bounds = f"of at least {smallest:,}"
        if largest != _INTEGER_MAX:
            bounds = f"from {smallest:,} to {largest:,}"
        raise InputError(f"{name}: expected an integer {bounds}, got {value!r}")
