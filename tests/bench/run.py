"""make bench: CentroiDB and others, on real and synthetic rows, in turn.

    python -m tests.bench.run [--only NAME ...] [--scale 0.1] [--rounds 3] [--long]

Prints Markdown; build/bench/ keeps the figures as JSON. Names are those of data sets, of systems,
and `changes`, which is CentroiDB alone while a fifth of its rows are replaced.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from tests.bench import changes, curves, sets, target
from tests.bench.contest import Plan, contest
from tests.bench.data import MissingError
from tests.bench.figures import Standings
from tests.bench.machine import machine
from tests.bench.sets import SETS
from tests.bench.standings_tables import report
from tests.bench.systems import SYSTEMS
from tests.bench.targets import targets

FOLDER = Path("build") / "bench"
PICTURE = Path("docs") / "recall.png"
"""Only of all sets at full scale; others are drawn beside the figures."""
SECONDS, SECONDS_LEAST = 2.0, 0.1
CHANGES = "changes"
IMPORT = "from time import *; s = perf_counter(); import centroidb; print(perf_counter() - s)"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what the command line names."""
    given = parsed(arguments)
    chosen_sets, chosen_systems = chosen(given.only, given.long)
    print(f"{machine()}; scale {given.scale:g}, {given.rounds} rounds", end="\n\n", flush=True)
    every: dict[str, Standings] = {}
    for name in chosen_sets:
        for text in measured(name, given, chosen_systems, every):
            print(text, end="\n\n", flush=True)
    if not given.only or CHANGES in given.only:
        for text in changed(given.scale):
            print(text, end="\n\n", flush=True)
    if every:
        for text in summary(every, given):
            print(text, end="\n\n", flush=True)


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.run")
    names = [*SETS, *SYSTEMS, CHANGES]
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", default=[])
    parser.add_argument("--scale", type=float, default=1.0, help="share of the rows")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--long", action="store_true", help="the set of a million rows, too")
    return parser.parse_args(arguments)


def chosen(only: Sequence[str], long: bool) -> tuple[list[str], list[str]]:
    """The sets and the systems: those named, or all where none is."""
    named = [name for name in SETS if name in only]
    every = [name for name, each in SETS.items() if long or not each.long]
    if list(only) == [CHANGES]:
        every = []
    return named or every, [name for name in SYSTEMS if name in only] or list(SYSTEMS)


def measured(
    name: str, given: argparse.Namespace, systems: Sequence[str], every: dict[str, Standings]
) -> Iterator[str]:
    """One set: its tables, while its standings are added to the others."""
    which = SETS[name]
    yield f"## {which.title}"
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        try:
            which.save(folder, given.scale)
        except MissingError as error:
            yield f"It was not measured: {error}"
            return
        exam = sets.read(folder)
        rows, dim = exam.vectors.shape
        seconds = max(SECONDS_LEAST, SECONDS * min(1.0, given.scale))
        plan = Plan(given.rounds, seconds, which.recall)
        results = contest(folder, plan, [each for each in systems if SYSTEMS[each].fits(dim)])
    keep(name, results)
    every[name] = Standings(results, which.recall, rows, dim)
    yield f"{rows:,} rows, {len(exam.queries)} queries, {sets.nlist(exam)} partitions."
    yield from report(every[name])


def changed(scale: float) -> Iterator[str]:
    """CentroiDB alone, while its rows are replaced."""
    yield "## A fifth of WordNet replaced"
    try:
        result = changes.measure(scale)
    except MissingError as error:
        yield f"It was not measured: {error}"
        return
    keep(CHANGES, result)
    yield from changes.report(result)


def summary(every: Mapping[str, Standings], given: argparse.Namespace) -> Iterator[str]:
    """Targets, versions and the picture."""
    yield "## Targets"
    late_ms = max(max(standings.late_ms().values(), default=0.0) for standings in every.values())
    yield target.table(targets(every, late_ms, import_s(given.rounds)))
    yield f"Versions: {', '.join(sorted(versions(every)))}."
    whole = given.scale == 1 and not given.only
    picture = PICTURE if whole else FOLDER / PICTURE.name
    try:
        curves.draw(every, picture)
    except ImportError as error:
        yield f"Nothing was drawn: {error}"
    else:
        yield f"Drawn to {picture}."


def versions(every: Mapping[str, Standings]) -> set[str]:
    """Of the systems."""
    return {
        f"{SYSTEMS[name].distribution or name} {result['release'][0]['version']}"
        for standings in every.values()
        for name, result in standings.results.items()
        if "release" in result
    }


def import_s(rounds: int) -> float:
    """Seconds that `import centroidb` takes in a new process."""
    command = [sys.executable, "-c", IMPORT]
    return median(float(subprocess.check_output(command, text=True)) for _ in range(rounds))


def keep(name: str, result: Any) -> None:
    """The figures as JSON."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"{name}.json").write_text(json.dumps(result, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
