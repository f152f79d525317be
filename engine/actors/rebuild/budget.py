"""How a build is cut so that it takes no more memory than it may.

    memory_bytes  |<-- held of every row -->|<-- there once -->|<- lane ->|<- lane ->| ...
                     8 or 12 bytes each        sample, means     blocks, `width` of them

Without a budget everything has its usual size. With one, each phase (`footprint`) is fitted by
itself: the sample is made smaller, then blocks, so that four lanes have room; then as many lanes
are used as were asked for and have room.

What a build makes depends on the sample and on the blocks of k-means, and what it keeps to go on,
on the blocks of the assignment. All of these depend on the size of the build and on the budget,
never on `parallel`: so the bytes are the same at any width, and a build that was cut short finds
its windows again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from ....wal.catalog import TableRow
from ....wal.errors import InputError
from ....wal.limits import Limits
from ...index.kmeans import BLOCK_ROWS
from ...index.parameters import IndexParameters
from ...storage.loading import block_rows
from ...storage.lookup import RUNS_A_STEP
from .footprint import BYTES_A_ROW, BuildSize, Footprint, Phase

VERSIONS_A_READ: Final = 32_768
ENCODE_BYTES: Final = 4 << 20

LANES: Final = 4
"""Blocks are made so small that so many fit beside each other, down to `ROWS_WISHED`."""
ROWS_WISHED: Final = 256
"""Smaller blocks cost more calls than they save; they are made when one alone needs it."""
ROWS_MIN: Final = 64
"""No block is smaller, unless there are fewer rows."""
SAMPLES_MIN: Final = 16
"""Rows of the sample for each partition, below which k-means has little to average."""
SAMPLE_SHARE: Final = 0.75
"""What the sample may take of the room that k-means has; the rest is for blocks."""


@dataclass(frozen=True, kw_only=True)
class Cut:
    """In rows: how much is worked on at a time, and how large the sample is."""

    versions: int
    """Of a read of vids."""
    sample: int
    cluster: int
    """Of a block of k-means."""
    block: int
    """Read and assigned together."""
    segment: int
    """At most."""
    group: int
    """Of segments read and encoded together, if that is more than one."""
    delta: int
    """Before it is folded."""
    gate: int
    """Of a step of the exact search."""


@dataclass(frozen=True, kw_only=True)
class Width:
    """Lanes of each phase."""

    versions: int
    sample: int
    cluster: int
    assign: int
    encode: int


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a build is made."""

    size: BuildSize
    cut: Cut
    width: Width
    is_bounded: bool
    """Whether there is a budget; then nothing of the build goes through the cache."""
    bytes_by_phase: dict[Phase, int]

    @property
    def peak_bytes(self) -> int:
        """What the build takes at most."""
        return max(self.bytes_by_phase.values())


def plan_build(size: BuildSize, parallel: int, memory_bytes: int | None) -> Plan:
    """Cut a build; InputError, which names the least, when none stays within `memory_bytes`."""
    foot = Footprint(size)
    if memory_bytes is None:
        width = Width(
            versions=parallel, sample=parallel, cluster=parallel, assign=parallel, encode=parallel
        )
        return _plan(foot, _usual(size), width, is_bounded=False)
    least = _plan(foot, _least(size), _ONE, is_bounded=True)
    if memory_bytes < least.peak_bytes:
        raise InputError(_too_little(least, memory_bytes))
    cut = _fitted(foot, memory_bytes)
    return _plan(foot, cut, _width(foot, cut, parallel, memory_bytes), is_bounded=True)


def plan_for(
    table: TableRow, rows: int, parameters: IndexParameters, limits: Limits, *, parallel: int
) -> Plan:
    """The plan of a build over `rows` rows of a table; InputError as `plan_build`."""
    size = BuildSize.of(
        rows,
        table.dim,
        parameters.nlist_for(rows),
        samples=parameters.samples_per_partition,
        limits=limits,
    )
    return plan_build(size, parallel, parameters.memory_bytes)


_ONE: Final = Width(versions=1, sample=1, cluster=1, assign=1, encode=1)


def _usual(size: BuildSize) -> Cut:
    """Without a budget."""
    block = block_rows(size.dim)
    return Cut(
        versions=VERSIONS_A_READ,
        sample=size.sample_rows,
        cluster=BLOCK_ROWS,
        block=block,
        segment=size.segment_rows,
        group=max(1, ENCODE_BYTES // (4 * size.dim)),
        delta=size.delta_rows,
        gate=RUNS_A_STEP * block,
    )


def _least(size: BuildSize) -> Cut:
    """With the smallest blocks."""
    usual = _usual(size)
    segment = min(usual.segment, ROWS_WISHED)
    return Cut(
        versions=ROWS_WISHED,
        sample=min(usual.sample, SAMPLES_MIN * size.nlist),
        cluster=ROWS_MIN,
        block=min(usual.block, ROWS_MIN),
        segment=segment,
        group=min(usual.group, segment),
        delta=min(usual.delta, ROWS_MIN),
        gate=min(usual.gate, ROWS_MIN),
    )


def _lane(foot: Footprint, cut: Cut) -> dict[Phase, int]:
    """What one lane takes; where there is only one, in it is all that depends on its size."""
    group = max(cut.group, cut.segment)
    return {
        "versions": foot.read_vids(cut.versions),
        "sample": foot.read(min(cut.block, foot.size.rows)),
        "cluster": foot.cluster_block(min(cut.cluster, cut.sample)),
        "assign": foot.block(min(cut.block, foot.size.rows)),
        "draw": 0,
        "encode": foot.group(min(group, foot.size.rows)),
        "catch up": foot.delta(cut.delta, cut.block),
        "verify": foot.verify(cut.segment),
        "gate": foot.gate(min(cut.gate, foot.size.rows)),
    }


def _once(foot: Footprint, cut: Cut) -> dict[Phase, int]:
    """What a phase takes however wide it is."""
    after = foot.after(cut.sample, cut.segment)
    group = min(max(cut.group, cut.segment), foot.size.rows)
    once: dict[Phase, int] = {
        "versions": 0,
        "sample": foot.sample(cut.sample),
        "cluster": foot.cluster(cut.sample),
        "assign": foot.searched(),
        "draw": foot.searched() + foot.draw(cut.sample),
        "encode": after + foot.sort(group),
        "catch up": after,
        "verify": after,
        "gate": after + foot.ranked(),
    }
    return {phase: nbytes + foot.held(phase) for phase, nbytes in once.items()}


def _plan(foot: Footprint, cut: Cut, width: Width, *, is_bounded: bool) -> Plan:
    once, lane = _once(foot, cut), _lane(foot, cut)
    lanes = vars(width)
    total = {phase: once[phase] + lanes.get(phase, 1) * lane[phase] for phase in once}
    return Plan(size=foot.size, cut=cut, width=width, is_bounded=is_bounded, bytes_by_phase=total)


def _too_little(least: Plan, memory_bytes: int) -> str:
    phase, nbytes = max(least.bytes_by_phase.items(), key=lambda item: item[1])
    rows = least.size.rows * BYTES_A_ROW[phase]
    return (
        f"memory_bytes: expected at least {nbytes} for {least.size}, got {memory_bytes}: "
        f"{rows} for the rows ({BYTES_A_ROW[phase]} bytes each) and {nbytes - rows} for "
        f"centroids, the smallest sample and one block of the phase {phase!r}"
    )


def _fitted(foot: Footprint, memory_bytes: int) -> Cut:
    """The largest sizes, up to the usual ones, with which every phase stays within the budget."""
    cut = _with_sample(foot, _least(foot.size), memory_bytes)
    for name in _PHASES:
        cut = _raised(foot, cut, name, memory_bytes)
    return cut


def _with_sample(foot: Footprint, least: Cut, memory_bytes: int) -> Cut:
    """The least cut with as large a sample as leaves k-means a share of its room."""
    spare = memory_bytes - _once(foot, least)["cluster"]
    share = memory_bytes - int((1 - SAMPLE_SHARE) * spare)

    def fits(rows: int) -> bool:
        cut = replace(least, sample=rows)
        in_share = _once(foot, cut)["cluster"] <= share
        return in_share and _fits(foot, cut, tuple(BYTES_A_ROW), 1, memory_bytes)

    return replace(least, sample=_most(least.sample, foot.size.sample_rows, fits))


_PHASES: Final[dict[str, tuple[Phase, ...]]] = {
    "versions": ("versions",),
    "cluster": ("cluster",),
    "block": ("sample", "assign", "catch up"),
    "segment": ("encode", "verify"),
    "group": ("encode",),
    "delta": ("catch up",),
    "gate": ("gate",),
}
"""The phases that a size matters to."""


def _raised(foot: Footprint, cut: Cut, name: str, memory_bytes: int) -> Cut:
    """A cut with one of its sizes as large as may be: for one lane while it is small."""

    def fits(rows: int, lanes: int) -> bool:
        return _fits(foot, replace(cut, **{name: rows}), _PHASES[name], lanes, memory_bytes)

    least, usual = getattr(cut, name), getattr(_usual(foot.size), name)
    small = _most(least, min(usual, max(least, ROWS_WISHED)), lambda rows: fits(rows, 1))
    return replace(cut, **{name: _most(small, usual, lambda rows: fits(rows, LANES))})


def _fits(
    foot: Footprint, cut: Cut, phases: Sequence[Phase], lanes: int, memory_bytes: int
) -> bool:
    """Whether these phases stay within the budget, the wide ones with so many lanes."""
    once, lane = _once(foot, cut), _lane(foot, cut)
    wide = {"versions", "cluster", "assign", "encode"}
    return all(
        once[phase] + (lanes if phase in wide else 1) * lane[phase] <= memory_bytes
        for phase in phases
    )


def _most(least: int, most: int, fits: Callable[[int], bool]) -> int:
    """The largest number from `least` to `most` that fits; `least` when none does."""
    while least < most:
        middle = (least + most + 1) // 2
        if fits(middle):
            least = middle
        else:
            most = middle - 1
    return least


def _width(foot: Footprint, cut: Cut, parallel: int, memory_bytes: int) -> Width:
    """As many lanes as were asked for, as far as they have room."""
    once, lane = _once(foot, cut), _lane(foot, cut)
    phases: list[Phase] = ["versions", "sample", "cluster", "assign", "encode"]
    return Width(
        **{
            phase: max(1, min(parallel, (memory_bytes - once[phase]) // max(1, lane[phase])))
            for phase in phases
        }
    )
