"""What was tried and found, as a table."""

from .case import Campaign, Result
from .runner import Tally


def table(campaigns: dict[str, Campaign], tally: Tally, *, goals: bool) -> str:
    """Markdown. goals: with what a push must try at least."""
    lines = ["| campaign | tried | number | goal | found | seconds |"]
    lines.append("| --- | --- | ---: | ---: | ---: | ---: |")
    for name, campaign in campaigns.items():
        result = tally.results.get(name)
        if result is None:
            continue
        names = [*campaign.goals, *sorted({*result.tried, *result.reached} - campaign.goals.keys())]
        for at, what in enumerate(names):
            goal = f"{campaign.goals[what]:,}" if goals and what in campaign.goals else ""
            found = f"{len(result.found)}" if not at else ""
            seconds = f"{tally.seconds[name]:.0f}" if not at else ""
            title = name if not at else ""
            number = f"{result.number(what):,}"
            lines.append(f"| {title} | {what} | {number} | {goal} | {found} | {seconds} |")
    return "\n".join(lines)


def missed(campaigns: dict[str, Campaign], tally: Tally) -> list[str]:
    """The goals of a push that were not reached."""
    found = []
    for name, campaign in campaigns.items():
        result = tally.results.get(name, Result())
        for what, goal in campaign.goals.items():
            if result.number(what) < goal:
                found.append(f"{name}: {what}: {result.number(what):,} of {goal:,}")
    return found
