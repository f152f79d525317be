"""The command: measures a scenario, or all, and prints the tables."""

import argparse

from tests.bench.machine import machine
from tests.bench.rebuild.scenarios import SCENARIOS


def main() -> None:
    """Measure what the command line names."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.rebuild")
    parser.add_argument("scenario", choices=[*SCENARIOS, "all"])
    parser.add_argument("--scale", type=float, default=1.0, help="share of the rows")
    given = parser.parse_args()
    print(f"{machine()}; scale {given.scale:g}", end="\n\n")
    for name, scenario in SCENARIOS.items():
        if given.scenario in (name, "all"):
            for text in scenario(given.scale):
                print(text, end="\n\n", flush=True)


if __name__ == "__main__":
    main()
