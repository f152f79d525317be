"""The command: measures a scenario, prints its tables, keeps its figures in build/bench/rebuild/."""

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import trio

from tests.bench.data import MissingError
from tests.bench.rebuild import apart, drift_tables, rows
from tests.bench.rebuild.drift import Bench
from tests.bench.run import FOLDER, machine
from tests.bench.sweep import Exam

KEPT = FOLDER / "rebuild"
IDLE_S = 10.0
IDLE_LEAST_S = 1.0


def drift(scale: float) -> Iterator[str]:
    """Synthetic rows, then WordNet."""
    for name, make in (("synthetic", rows.synthetic), ("WordNet", rows.wordnet)):
        try:
            given = make(scale)
        except MissingError as error:
            yield f"{name} was not measured: {error}"
            continue
        result = drifted(name, given, max(IDLE_LEAST_S, IDLE_S * scale))
        keep(f"drift-{name.lower()}", result)
        yield drift_tables.drift(result)


def drifted(name: str, given: rows.Drift, idle_s: float) -> dict[str, Any]:
    """One set: CentroiDB, faiss, the peers."""
    exam = Exam.of(*given.live(), given.queries)
    with TemporaryDirectory() as folder:
        ours = trio.run(Bench(given, exam, idle_s).run, Path(folder))
        file = Path(folder) / "drift.npz"
        given.save(file)
        return {
            "name": name,
            "rows": len(exam.keys),
            "centroidb": ours,
            "faiss_s": apart.faiss(file),
            "peers": apart.peers(file, idle_s),
        }


def keep(name: str, result: dict[str, Any]) -> None:
    """The figures as JSON."""
    KEPT.mkdir(parents=True, exist_ok=True)
    (KEPT / f"{name}.json").write_text(json.dumps(result, indent=1), encoding="utf-8")


SCENARIOS: dict[str, Callable[[float], Iterator[str]]] = {"drift": drift}


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
