"""The runner: every campaign gets its turns, and a goal that was not reached is told."""

from collections import Counter

from fuzz.__main__ import cases
from fuzz.case import Campaign, Result
from fuzz.runner import Tally
from fuzz.table import missed, table


def campaign(name: str, number: int, goal: int) -> Campaign:
    """One with so many cases a round."""
    return Campaign(
        name, lambda _: (str(each) for each in range(number)), lambda _: Result(), {"tries": goal}
    )


CAMPAIGNS = {"one": campaign("one", 3, 3), "two": campaign("two", 1, 5)}


def test_campaigns_take_turns() -> None:
    """All cases of a round come, by the names of their campaigns."""
    assert list(cases(CAMPAIGNS, rounds=1)) == ["one 0", "two 0", "one 1", "one 2"]


def test_what_was_not_tried_is_missed() -> None:
    """A goal counts as missed when too little was tried, and when nothing was."""
    tally = Tally()
    tally.add("one 0", Result(Counter(tries=3)), 1.0)

    assert missed(CAMPAIGNS, tally) == ["two: tries: 0 of 5"]
    assert "| one | tries | 3 | 3 | 0 | 1 |" in table(CAMPAIGNS, tally, goals=True)


def test_a_defect_names_its_case() -> None:
    """What was found is told with the text that tries it again."""
    tally = Tally()
    tally.add("one 7", Result(found=["row 3 is torn"]), 1.0)

    assert tally.found == ["one 7: row 3 is torn"]
