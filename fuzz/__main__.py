"""`python -m fuzz push | long --hours 1 | replay <case>`; see `fuzz/README.md`."""

import argparse
import itertools
import sys
import time
from collections.abc import Iterator

from . import corpus, native, runner
from .campaigns import CAMPAIGNS
from .case import Campaign
from .table import missed, table

FIRST_ROUND = 2
"""Of `long`: a push tries the first."""


def main() -> int:
    """0: nothing was found; 1: something was, or a goal was missed."""
    arguments = parsed()
    wanted = {n: c for n, c in CAMPAIGNS.items() if not arguments.only or n in arguments.only}
    wanted = runnable(wanted)
    try:
        if arguments.what == "replay":
            return replay(" ".join(arguments.case))
        return tried(wanted, arguments.hours if arguments.what == "long" else None)
    finally:
        native.forget()


def runnable(wanted: dict[str, Campaign]) -> dict[str, Campaign]:
    """Those that can run here; the others are named."""
    try:
        native.preload()
    except native.NativeMissing as error:
        watching = [name for name, campaign in wanted.items() if campaign.watches]
        print(f"SKIPPED, since {error}: {', '.join(watching)}")
        return {name: each for name, each in wanted.items() if not each.watches}
    return wanted


def replay(case: str) -> int:
    """Try one case again."""
    if case.split(" ")[0] not in CAMPAIGNS:
        print(f"{case!r} is no case: the first word is one of {', '.join(CAMPAIGNS)}")
        return True
    result = runner.tried(CAMPAIGNS, case)
    print(*result.found or ["nothing was found"], sep="\n")
    return bool(result.found)


def tried(wanted: dict[str, Campaign], hours: float | None) -> int:
    """Try what failed once and a round of everything, or round after round for so long."""
    until_s = float("inf") if hours is None else time.monotonic() + hours * 3_600
    kept = corpus.cases(wanted)
    rounds = cases(wanted, rounds=1 if hours is None else None)
    others = (case for case in rounds if case not in kept)
    tally = runner.run(wanted, itertools.chain(kept, others), until_s)
    corpus.keep(tally.found)
    print(f"{len(kept)} cases that failed once were tried again\n")
    print(table(wanted, tally, goals=hours is None))
    problems = tally.found + (missed(wanted, tally) if hours is None else [])
    print(*problems, sep="\n")
    print("again: python -m fuzz replay <the text up to the colon>" if problems else "all well")
    return bool(problems)


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("what", choices=["push", "long", "replay"])
    parser.add_argument("case", nargs="*", help="what to replay")
    parser.add_argument("--hours", type=float, default=1.0, help="how long `long` goes on")
    parser.add_argument("--only", nargs="*", choices=CAMPAIGNS, help="campaigns")
    return parser.parse_args()


def cases(campaigns: dict[str, Campaign], rounds: int | None) -> Iterator[str]:
    """All cases of a round, campaigns in turn, then those of the next."""
    numbers = itertools.count(FIRST_ROUND) if rounds is None else range(1, rounds + 1)
    for number in numbers:
        each = [named(campaign, number) for campaign in campaigns.values()]
        for turn in itertools.zip_longest(*each):
            yield from (case for case in turn if case is not None)


def named(campaign: Campaign, number: int) -> Iterator[str]:
    """The cases of a campaign's round, as `replay` takes them."""
    yield from (f"{campaign.name} {text}" for text in campaign.cases(number))


if __name__ == "__main__":
    sys.exit(main())
