"""What a rebuild may be told, and what of it is refused."""

import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, Literal, TypedDict

from ...wal.errors import InputError
from ..actors.rebuild.effort import Effort, Throttle
from ..actors.supervisor import default_parallel
from ..index.distance import Metric
from ..index.parameters import KEPT_MAX, IndexParameters
from .inputs import check_integer

PARALLEL_MAX = 256


class EffortOptions(TypedDict, total=False):
    """How much a build may take; what it makes does not depend on it."""

    parallel: int | None
    """Worker threads; by default all cores but one."""
    throttle: Throttle | None
    """A float is a share of one core (0.5: half of it), an int is rows a second in each phase."""
    max_duration: float | timedelta | None
    """Seconds after which the build is paused, durably."""


class RebuildOptions(EffortOptions, total=False):
    """What a rebuild may be told; what is left out stays as the index has it."""

    nlist: int | None
    """Partitions; left out, worked out from the live rows."""
    metric: Metric | None
    samples_per_partition: int | None
    min_vectors_per_partition: int | None
    codec: Literal["auto", "flat", "sq8"] | None
    seed: int | None
    start: Literal["sample", "kmeans++"] | None
    balance: bool | None
    centroid_search: Literal["auto", "exact", "hnsw"] | None
    target_accuracy: int | None
    memory_bytes: int | None
    """What the build may take of memory at most."""
    keep_previous: int | timedelta | None
    """How many generations, or which age of them, a rollback can bring back; none by default."""


def require_known(what: str, options: Mapping[str, Any], known: type[Any]) -> None:
    """InputError for a name that `known` does not have."""
    unknown = options.keys() - known.__annotations__.keys()
    if unknown:
        raise InputError(
            f"{what}: expected options among {', '.join(known.__annotations__)}, "
            f"got {', '.join(sorted(unknown))}"
        )


def effort_of(options: EffortOptions, default: Effort | None = None) -> Effort:
    """The effort that the options ask for; `default` where they say nothing."""
    effort = default or Effort(parallel=default_parallel())
    parallel, throttle = options.get("parallel"), options.get("throttle")
    if parallel is not None:
        check_integer("parallel", parallel, 1, PARALLEL_MAX)
        effort = replace(effort, parallel=parallel)
    if throttle is not None:
        effort = replace(effort, throttle=_checked_throttle(throttle))
    return replace(effort, max_duration_s=_seconds("max_duration", options.get("max_duration")))


def _checked_throttle(throttle: object) -> Throttle:
    share = isinstance(throttle, float) and 0 < throttle <= PARALLEL_MAX
    rate = isinstance(throttle, int) and not isinstance(throttle, bool) and throttle > 0
    if not share and not rate:
        raise InputError(
            "throttle: expected a float above 0 (a share of one core) or an int above 0 (rows a "
            f"second), got {throttle!r}"
        )
    return throttle  # type: ignore[return-value]  # it is one of the two


def _seconds(name: str, value: object) -> float:
    if value is None:
        return math.inf
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds > 0:
        raise InputError(f"{name}: expected seconds above 0 or a timedelta, got {value!r}")
    return float(seconds)


def parameters_of(options: RebuildOptions, before: IndexParameters) -> IndexParameters:
    """The parameters of a rebuild: those of the index but for what the options say.

    nlist is worked out anew unless it is given.
    """
    changes: dict[str, Any] = {
        name: value for name, value in options.items() if name not in EffortOptions.__annotations__
    }
    changes |= kept_of(changes.pop("keep_previous", None))
    return replace(before.changed(**changes), nlist=options.get("nlist"))


def kept_of(keep_previous: object) -> dict[str, int]:
    """`keep_previous` as the parameters of an index have it."""
    if keep_previous is None:
        return {}
    if isinstance(keep_previous, timedelta):
        seconds = math.ceil(_seconds("keep_previous", keep_previous))
        return {"keep_previous": KEPT_MAX, "keep_previous_s": seconds}
    check_integer("keep_previous", keep_previous, 0, KEPT_MAX)
    return {"keep_previous": int(keep_previous), "keep_previous_s": 0}  # type: ignore[call-overload]  # checked
