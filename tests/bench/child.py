"""One system on one data set, in a process of its own.

    python -m tests.bench.child NAME SET_FOLDER

It answers each line of its input, {"do": ..., options}, with a line of figures, as JSON, or with
{"failed": the reason}. The folder of a build is given with it, so that builds can be repeated.
"""

import gc
import json
import os
import sqlite3
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol, TextIO

from tests.bench import sets
from tests.bench.systems import SYSTEMS, System
from tests.bench.tasks import Tasks
from tests.bench.threads import Threads

Figures = dict[str, Any]


class Measured(Protocol):
    """What is measured of each system."""

    def build(self, folder: Path) -> Figures:
        """load_s, build_s: rows into an empty folder, and the index on them."""

    def search(self, recall: float, seconds: float) -> Figures:
        """points, by effort; effort, where the recall is reached; rates there, by clients."""

    def write(self, folder: Path, number: int, seconds: float) -> Figures:
        """Latencies and rate of commits of a row by so many writers, into an empty database."""

    def close(self) -> Figures:
        """bytes, that are left in the folder of the build."""

    def reopen(self, folder: Path, effort: int) -> Figures:
        """first_s, from the start of the open to the first answer; memory_bytes after many."""


def measured(system: System, set_folder: Path) -> Measured:
    """In tasks or in threads."""
    exam = sets.read(set_folder)
    if system.make is None:
        return Tasks(exam, codes_only=system.codes_only)
    return Threads(exam, system.make, system.efforts)


def commands(bench: Measured) -> dict[str, Callable[..., Figures]]:
    """By name, with paths as text."""
    return {
        "build": lambda folder: bench.build(Path(folder)),
        "search": bench.search,
        "write": lambda folder, **options: bench.write(Path(folder), **options),
        "close": bench.close,
        "reopen": lambda folder, **options: bench.reopen(Path(folder), **options),
    }


def serve(questions: TextIO, answers: TextIO, known: dict[str, Callable[..., Figures]]) -> None:
    """Answer until there are no more questions."""
    for line in questions:
        options = json.loads(line)
        try:
            figures = known[options.pop("do")](**options)
        except Exception as error:  # noqa: BLE001 - whatever a system raises is its figure
            figures = {"failed": f"{type(error).__name__}: {error}"}
        print(json.dumps(figures), file=answers, flush=True)


def release(system: System) -> Figures:
    """Its version."""
    name = system.distribution
    return {"version": sqlite3.sqlite_version if name is None else version(name)}


def main() -> None:
    """Answer; what libraries print goes to the standard error."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    system = SYSTEMS[sys.argv[1]]
    known = commands(measured(system, Path(sys.argv[2])))
    gc.freeze()  # what was imported is no garbage, and walking it takes 20 ms
    serve(sys.stdin, answers, {**known, "release": lambda: release(system)})
    answers.flush()
    os._exit(0)  # some libraries wait for their threads, or abort


if __name__ == "__main__":
    main()
