"""The rule of the Monitor: what figures call for, and that it does not waver."""

from dataclasses import replace

import pytest

from centroidb.engine.index.policy import NOTHING, RULES, Decision, Figures, decide

HEALTHY = Figures(
    rows=10_000,
    nlist=100,
    rows_at_build=9_000,
    came=1_000,
    imbalance=1.2,
    partition_max=180,
    drift=1.0,
    recall=0.97,
    cost=0.03,
    cost_at_build=0.03,
)
UNSAMPLED = replace(HEALTHY, recall=None, cost=None)


@pytest.mark.parametrize(
    ("figures", "action", "rules"),
    [
        (HEALTHY, "none", ()),
        (UNSAMPLED, "none", ()),
        (replace(HEALTHY, imbalance=2.0), "reorganize", ("imbalance",)),
        (replace(HEALTHY, partition_max=800), "reorganize", ("largest",)),
        (replace(HEALTHY, drift=1.15), "rebuild", ("drift",)),
        (replace(HEALTHY, rows_at_build=6_000, came=4_000), "rebuild", ("grown",)),
        (replace(UNSAMPLED, came=2_000, rows_at_build=8_000), "rebuild", ("came",)),
        (replace(HEALTHY, cost=0.045), "rebuild", ("cost",)),
        (replace(HEALTHY, cost=0.04, recall=0.89), "rebuild", ("recall",)),
        (replace(HEALTHY, imbalance=3.0, drift=1.2), "rebuild", ("imbalance", "drift")),
    ],
)
def test_figures_call_for_an_action(figures: Figures, action: str, rules: tuple[str, ...]) -> None:
    """Each figure past its threshold is named, and the strongest action is taken."""
    decision = decide(figures)
    assert (decision.action, decision.rules) == (action, rules)
    assert len(decision.reasons) == len(rules)


def test_new_rows_alone_say_nothing_where_the_cost_was_measured() -> None:
    """A fifth of new rows is a rule of thumb: a search that costs what it did goes before it."""
    figures = replace(HEALTHY, came=3_000, rows_at_build=7_000)
    assert decide(figures) == NOTHING
    assert decide(replace(figures, cost=None)).rules == ("came",)


def test_a_low_recall_that_a_build_would_not_mend_is_left() -> None:
    """Data that are hard to search were so after the build; another build finds no more."""
    assert decide(replace(HEALTHY, recall=0.5, cost=0.037)) == NOTHING
    assert decide(replace(HEALTHY, recall=0.5, cost=0.038)).rules == ("recall",)
    assert decide(replace(HEALTHY, recall=0.5, cost_at_build=0.0)).rules == ("recall",)


def test_an_index_as_it_was_built_is_left() -> None:
    """While hardly a row has changed since the build nothing is decided, whatever the figures."""
    awful = replace(HEALTHY, imbalance=50.0, drift=3.0, recall=0.1, cost=0.9)
    assert decide(replace(awful, rows_at_build=9_600, came=400)) == NOTHING
    assert decide(replace(awful, rows_at_build=9_500, came=500)).action == "rebuild"
    assert decide(replace(awful, rows_at_build=10_500, came=0)).action == "rebuild"


def test_it_was_built_too_early() -> None:
    """The reason names the rows that it was built on, and those there are; none is no trap."""
    figures = replace(UNSAMPLED, rows=50_000, rows_at_build=200, came=49_800)
    assert decide(figures).reasons[0] == "it was built on 200 rows and has 50,000"
    assert "grown" in decide(replace(figures, rows_at_build=0, came=50_000)).rules
    assert decide(Figures(rows=0, nlist=1, rows_at_build=0, came=0, imbalance=1.0,
                          partition_max=0, drift=1.0)) == NOTHING  # fmt: skip


def test_no_wavering_about_a_threshold() -> None:
    """A figure that goes up and down about a threshold changes the decision once, not each time."""
    decision, changes = NOTHING, 0
    for imbalance in (1.95, 2.05, 1.9, 2.1, 1.7, 2.01, 1.65, 1.99):
        after = decide(replace(HEALTHY, imbalance=imbalance), decision)
        changes += after != decision
        decision = after
    assert changes == 1
    assert decision.action == "reorganize"
    assert decide(replace(HEALTHY, imbalance=1.5), decision) == NOTHING
    assert decide(replace(HEALTHY, imbalance=1.9), NOTHING) == NOTHING


@pytest.mark.parametrize(
    ("below", "above", "over"),
    [
        (  # the share of rows that changed, about 5 %
            replace(HEALTHY, imbalance=3.0, rows_at_build=9_510, came=490),
            replace(HEALTHY, imbalance=3.0, rows_at_build=9_490, came=510),
            replace(HEALTHY, imbalance=3.0, rows_at_build=9_700, came=300),
        ),
        (  # what a search costs, about 1.25 times that of the build
            replace(HEALTHY, recall=0.8, cost=0.03 * 1.22),
            replace(HEALTHY, recall=0.8, cost=0.03 * 1.28),
            replace(HEALTHY, recall=0.8, cost=0.03 * 1.1),
        ),
    ],
)
def test_no_wavering_about_what_silences_a_rule(
    below: Figures, above: Figures, over: Figures
) -> None:
    """What keeps rules silent has two thresholds as well, so it does not come and go."""
    assert decide(below) == NOTHING
    decision, changes = NOTHING, 0
    for figures in (below, above) * 5:
        after = decide(figures, decision)
        changes += after != decision
        decision = after
    assert changes == 1
    assert decision.action != "none"
    assert decide(over, decision) == NOTHING


def test_one_rule_does_not_lower_the_threshold_of_another() -> None:
    """Only the rule that held before holds on below its threshold."""
    before = Decision("reorganize", rules=("imbalance",))
    assert decide(replace(HEALTHY, drift=1.12), before) == NOTHING


def test_decisions_are_compared_by_what_they_do() -> None:
    """The same rules with other figures are the same decision, so it is not written again."""
    one, other = (decide(replace(HEALTHY, drift=drift)) for drift in (1.2, 1.3))
    assert one == other
    assert one.reasons != other.reasons


def test_each_rule_leaves_below_where_it_enters() -> None:
    """Every rule has room between its two thresholds, and a name of its own."""
    assert [rule.name for rule in RULES if rule.leave >= rule.enter] == []
    assert len({rule.name for rule in RULES}) == len(RULES)
