"""The scenarios: each measures, keeps its figures as JSON, and yields its tables."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import trio
from trio.testing import MockClock

from tests.bench.data import MissingError
from tests.bench.rebuild import (
    apart,
    backpressure,
    drift,
    drift_tables,
    early,
    epochs,
    plot,
    rows,
    upkeep_tables,
)
from tests.bench.run import FOLDER
from tests.bench.sweep import Exam

KEPT = FOLDER / "rebuild"
PICTURE = Path("docs") / "drift.png"
"""Only at full scale; smaller ones are drawn beside the figures."""
IDLE_S = 10.0
IDLE_LEAST_S = 1.0


def report_drift(scale: float) -> Iterator[str]:
    """Synthetic rows, then WordNet."""
    for name, make in (("synthetic", rows.synthetic), ("WordNet", rows.wordnet)):
        try:
            given = make(scale)
        except MissingError as error:
            yield f"{name} was not measured: {error}"
            continue
        result = drifted(name, given, idle_s(scale))
        keep(f"drift-{name.lower()}", result)
        yield drift_tables.drift(result)


def drifted(name: str, given: rows.Drift, alone_s: float) -> dict[str, Any]:
    """One set: CentroiDB, faiss, the peers."""
    exam = Exam.of(*given.live(), given.queries)
    with TemporaryDirectory() as folder:
        ours = trio.run(drift.Bench(given, exam, alone_s).run, Path(folder))
        file = Path(folder) / "drift.npz"
        given.save(file)
        return {
            "name": name,
            "rows": len(exam.keys),
            "centroidb": ours,
            "faiss_s": apart.faiss(file),
            "peers": apart.peers(file, alone_s),
        }


def report_early(scale: float) -> Iterator[str]:
    """Indexes made too early."""
    with TemporaryDirectory() as folder:
        result = trio.run(early.Early.of(scale).run, Path(folder), clock=MockClock(rate=1.0))
    keep("early", result)
    yield f"## Early: grown to {int(early.ROWS * scale):,} rows\n\n{upkeep_tables.early(result)}"


def report_backpressure(scale: float) -> Iterator[str]:
    """Rebuilds beside fast writers."""
    with TemporaryDirectory() as folder:
        result = trio.run(backpressure.run, Path(folder), scale, idle_s(scale))
    keep("backpressure", result)
    yield f"## Backpressure\n\n{upkeep_tables.backpressure(result)}"


def report_epochs(scale: float) -> Iterator[str]:
    """Two streams of changes, and a picture of both."""
    results = {}
    for kind, title in plot.TITLES.items():
        with TemporaryDirectory() as folder:
            path = Path(folder) / "epochs.db"
            result = trio.run(
                epochs.run, kind, path, int(epochs.ROWS * scale), clock=MockClock(rate=1.0)
            )
        results[kind] = result
        yield f"## Epochs, {title}\n\n{upkeep_tables.epochs(result)}"
    keep("epochs", results)
    picture = PICTURE if scale == 1 else KEPT / PICTURE.name
    plot.epochs(results, picture)
    yield f"Drawn to {picture}."


def idle_s(scale: float) -> float:
    """How long load runs with nothing beside it."""
    return max(IDLE_LEAST_S, IDLE_S * scale)


def keep(name: str, result: Any) -> None:
    """The figures as JSON."""
    KEPT.mkdir(parents=True, exist_ok=True)
    (KEPT / f"{name}.json").write_text(json.dumps(result, indent=1), encoding="utf-8")


SCENARIOS: dict[str, Callable[[float], Iterator[str]]] = {
    "drift": report_drift,
    "early": report_early,
    "epochs": report_epochs,
    "backpressure": report_backpressure,
}
"""Each takes the share of the rows."""
