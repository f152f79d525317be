"""The bench at a tiny scale, and its arithmetic."""

import math
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from tests.bench import run, sets
from tests.bench.asked import asking
from tests.bench.figures import Standings
from tests.bench.machine import machine
from tests.bench.memory import descendants, memory_bytes
from tests.bench.systems import CODES, OURS, REFERENCE, SYSTEMS, System
from tests.bench.target import Target, table
from tests.bench.targets import targets
from tests.bench.threads import effort_at

ROWS, DIM = 600, 96
TINY = sets.DataSet("A tiny set", partial(sets.synthetic, ROWS, DIM))


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for figures of a bench whose synthetic set is tiny."""
    monkeypatch.setenv("CENTROIDB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(sets.SETS, "synthetic", TINY)
    monkeypatch.setattr(run, "FOLDER", tmp_path / "figures")
    monkeypatch.setattr(run, "SECONDS", 0.0)
    return tmp_path / "figures"


def test_the_bench_runs(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every measurement of CentroiDB and of bare SQLite has figures."""
    run.main(["--only", "synthetic", OURS, "SQLite", "--rounds", "1"])

    printed = capsys.readouterr().out
    assert printed.startswith(machine())
    assert "was not measured" not in printed
    assert "synthetic: bulk load, rows/s" in printed
    assert (tiny / "synthetic.json").exists()


def test_a_system_that_is_not_installed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing interpreter, and a child that ends at once, are reasons and not errors."""
    monkeypatch.setattr("tests.bench.systems.PYTHON", tmp_path / "python")
    with asking("zvec IVF", tmp_path, tmp_path / "log") as child:
        assert "is missing" in child.ask("build", folder="")["failed"]

    with asking(OURS, tmp_path / "no set", tmp_path / "log") as child:
        assert "FileNotFoundError" in child.ask("build", folder="")["failed"]
        assert "FileNotFoundError" in child.ask("close")["failed"]


def test_codes_are_measured_where_there_are_some() -> None:
    """Places on the earth have three dimensions and no codes."""
    assert [name for name, system in SYSTEMS.items() if not system.fits(3)] == [CODES]
    assert System("any", codes_only=True).fits(256)


def test_ratios_are_taken_round_by_round() -> None:
    """A round in which all was slow does not move the ratio."""
    standings = standings_of({OURS: [2.0, 20.0, 2.0], REFERENCE: [1.0, 10.0, 1.0]})

    assert standings.ratio(OURS, "load_s", REFERENCE) == 2.0
    assert standings.median(OURS, "load_s") == 2.0
    assert standings.rows_per_s(OURS) == 50.0
    assert standings.best("load_s", [OURS, REFERENCE, "zvec IVF"]) == REFERENCE
    assert math.isnan(standings.ratio(OURS, "load_s", "zvec IVF"))


def test_what_was_not_measured_meets_no_target() -> None:
    """Targets without figures say so."""
    every = {"wordnet": standings_of({OURS: [1.0]}), "cities": standings_of({})}

    goals = list(targets(every, late_ms=5.0, import_s=0.9))

    assert [goal.met for goal in goals if "import" in goal.what or "loop" in goal.what] == [
        False,
        True,
    ]
    assert "| not measured |" in table(goals)
    assert Target("at least", 3.0, 4.0, at_least=True).met
    assert not Target("at least", 3.0, math.nan, at_least=True).met


def test_the_effort_is_what_reaches_the_recall() -> None:
    """Rounded up between two that were tried; the largest where none reaches it."""
    points = [{"effort": 10, "recall": 0.8}, {"effort": 20, "recall": 0.9}]

    assert effort_at(points, 0.85) == 15
    assert effort_at(points, 0.851) == 16
    assert effort_at(points, 0.95) == 20


def test_memory_counts_children() -> None:
    """A process that was started is a descendant, and holds memory."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert child.pid in descendants(os.getpid())
        assert memory_bytes([os.getpid(), child.pid]) > memory_bytes([os.getpid()])
        child.communicate(b"\n")


def standings_of(load_s: dict[str, list[float]]) -> Standings:
    """100 rows, loaded in so many seconds."""
    results = {
        name: {"build": [{"load_s": each, "build_s": 1.0} for each in rounds], "failed": {}}
        for name, rounds in load_s.items()
    }
    return Standings(results, 0.95, 100, 4)
