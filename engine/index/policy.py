"""When an index should be built anew, or put in order: one pure rule.

    figures -> each rule: does its figure pass the threshold? -> the strongest action
                          (the lower one, if the rule held the last time)

A rule that holds goes on holding until its figure falls under a second, lower threshold,
so a figure that wavers about one does not make the decision waver.

Rules of thumb (the share of new rows) speak only while nothing was measured: what a search
must read now, against what it had to read after the build, says more than any of them.
Where nearly nothing has changed since the build nothing is decided, since another build
of the same rows would be the same.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal

Action = Literal["none", "reorganize", "rebuild"]

CHANGED_MIN: Final = 0.05
"""Share of rows that came or went since the build; below it a build would give the same index."""
CHANGED_LEAVE: Final = 0.04
"""What was decided holds down to here, as rows come and go."""
AS_BUILT: Final = 1.25
"""A search that costs at most so many times what it did after the build is as good as then:
the costs of two samples of the same index differ by a tenth or so."""
AS_BUILT_LEAVE: Final = 1.15
"""Once it was found to cost more: two samples of one cost hardly lie on both sides of the two."""


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What is known of an index. recall, cost: as sampled, None while nothing was.

    came: rows that came since the build; partition_max: rows of the largest partition;
    cost_at_build: 0 while not known. For the others see `Health`.
    """

    rows: int
    nlist: int
    rows_at_build: int
    came: int
    imbalance: float
    partition_max: int
    drift: float
    recall: float | None = None
    cost: float | None = None
    cost_at_build: float = 0.0

    @property
    def changed(self) -> float:
        """Rows that came or went since the build, over the rows there are."""
        gone = self.rows_at_build + self.came - self.rows
        return (self.came + max(0, gone)) / max(1, self.rows)

    @property
    def cost_ratio(self) -> float | None:
        """What a search costs now over what it did after the build; None when not known."""
        if self.cost is None or not self.cost_at_build:
            return None
        return self.cost / self.cost_at_build


@dataclass(frozen=True)
class Decision:
    """What to do. Two that do the same by the same rules are equal, whatever the figures."""

    action: Action
    reasons: tuple[str, ...] = field(default=(), compare=False)
    """In words, with the figures."""
    rules: tuple[str, ...] = ()
    """The names of the rules that hold."""


NOTHING: Final = Decision("none")


@dataclass(frozen=True)
class Rule:
    """One figure and its thresholds. The figure is None where the rule has nothing to say."""

    name: str
    action: Action
    enter: float
    leave: float
    figure: Callable[[Figures], float | None]
    reason: Callable[[Figures], str]
    guard: Callable[[Figures, bool], bool] = lambda *_: True
    """Whether the rule may speak, given whether it held before."""

    def holds(self, figures: Figures, previous: Decision) -> bool:
        """Whether the figure passes, by the lower threshold if the rule held before."""
        held = self.name in previous.rules
        value = self.figure(figures) if self.guard(figures, held) else None
        return value is not None and value >= (self.leave if held else self.enter)


def _largest(figures: Figures) -> float:
    return figures.partition_max * figures.nlist / max(1, figures.rows)


def _grown(figures: Figures) -> float:
    return figures.rows / max(1, figures.rows_at_build)


def _came(figures: Figures) -> float | None:
    """A rule of thumb: silent where the cost was measured."""
    return None if figures.cost_ratio is not None else figures.came / max(1, figures.rows)


def _missed(figures: Figures) -> float | None:
    return None if figures.recall is None else 1.0 - figures.recall


def _costs_more(figures: Figures, held: bool) -> bool:
    """Where a search costs what it did after the build, another build would find no more."""
    ratio = figures.cost_ratio
    return ratio is None or ratio > (AS_BUILT_LEAVE if held else AS_BUILT)


RULES: Final = (
    Rule(  # a row's partition has twice the mean size, so a probe reads twice as much
        "imbalance",
        "reorganize",
        2.0,
        1.6,
        lambda figures: figures.imbalance,
        lambda figures: f"partitions are lopsided (imbalance {figures.imbalance:.2f})",
    ),
    Rule(  # SPFresh keeps its largest to its smallest at 8:1; Lance splits above 4 times the mean
        "largest",
        "reorganize",
        8.0,
        4.0,
        _largest,
        lambda figures: f"the largest partition has {_largest(figures):.1f} times the mean rows",
    ),
    Rule(  # SPANN in Chroma looks at a centroid again when it has moved by 0.125
        "drift",
        "rebuild",
        1.15,
        1.1,
        lambda figures: figures.drift,
        lambda figures: f"rows lie {figures.drift:.2f} times as far from their centroids",
    ),
    Rule(  # MicroNN rebuilds when the mean partition has grown by a half
        "grown",
        "rebuild",
        1.5,
        1.4,
        _grown,
        lambda figures: f"it was built on {figures.rows_at_build:,} rows and has {figures.rows:,}",
    ),
    Rule(  # OceanBase rebuilds when a fifth of the rows is new
        "came",
        "rebuild",
        0.2,
        0.15,
        _came,
        lambda figures: (
            f"{figures.came / max(1, figures.rows):.0%} of the rows came after the build"
        ),
    ),
    Rule(  # the same half as for growth, but measured
        "cost",
        "rebuild",
        1.5,
        1.25,
        lambda figures: figures.cost_ratio,
        lambda figures: (
            f"finding the nearest rows takes {figures.cost_ratio or 0:.1f} times the rows it did"
        ),
    ),
    Rule(  # 90 % is what Oracle aims at by default
        "recall",
        "rebuild",
        0.1,
        0.08,
        _missed,
        lambda figures: f"searches find {figures.recall or 0:.0%} of the nearest rows",
        guard=_costs_more,
    ),
)


def decide(figures: Figures, previous: Decision = NOTHING) -> Decision:
    """What these figures call for, given what was decided before.

    Of rules that want different things a rebuild goes first: it does what a
    reorganization does.
    """
    if figures.changed < (CHANGED_LEAVE if previous.rules else CHANGED_MIN):
        return NOTHING
    held = [rule for rule in RULES if rule.holds(figures, previous)]
    wanted = {rule.action for rule in held}
    action: Action = "rebuild" if "rebuild" in wanted else "reorganize" if wanted else "none"
    return Decision(
        action,
        tuple(rule.reason(figures) for rule in held),
        tuple(rule.name for rule in held),
    )
