"""Commands that change the file or make another."""

import json
from pathlib import Path

from centroidb import Event
from centroidb.engine.cli.change import beside
from tests.cli.conftest import Run, errors_in


def test_rebuild(run: Run, file: Path) -> None:
    """`rebuild` builds the index anew, tells so on stderr, and prints the outcome."""
    result = run("rebuild", file, "points_ivf", "--nlist", 9, "--parallel", 2, "--json")

    assert result.exit_code == 0
    assert result.stderr == "rebuilding points_ivf\n"
    outcome = json.loads(result.stdout)
    assert (outcome["index"], outcome["nlist"], outcome["rows"]) == ("points_ivf", 9, 400)
    assert json.loads(run("stats", file, "points_ivf", "--json").stdout)["nlist"] == 9


def test_beside_the_bar() -> None:
    """Beside the bar stand the phase, how far it is, and how far it lags behind the writers."""
    event = Event(
        phase="catch up", fraction=0.9, rows=7, rows_total=20, lag=13, eta_s=None, elapsed_s=1.0
    )

    assert beside(event) == "catch up, 7 of 20, lag 13"
    assert beside(None) is None


def test_sql(run: Run, file: Path) -> None:
    """`sql` creates, rebuilds and drops, and shows what came of it."""
    head = "CREATE VECTOR INDEX second ON points (vector) ORGANIZATION NEIGHBOR PARTITIONS"

    made = json.loads(run("sql", file, f"{head} DISTANCE COSINE", "--json").stdout)
    rebuilt = json.loads(run("sql", file, "ALTER INDEX second REBUILD ONLINE", "--json").stdout)
    dropped = json.loads(run("sql", file, "DROP INDEX second", "--json").stdout)

    assert (made["name"], made["metric"]) == ("second", "cosine")
    assert (rebuilt["index"], rebuilt["rows"]) == ("second", 400)
    assert dropped == {"done": "DROP INDEX second"}


def test_sql_with_a_mistake(run: Run, file: Path) -> None:
    """A statement that can not be read is shown with the caret."""
    result = run("sql", file, "ALTER INDEX points_ivf REBULD ONLINE")

    assert result.exit_code == 1
    assert result.stderr == (
        "centroidb: line 1: expected REBUILD, got REBULD (did you mean REBUILD?)\n"
        "  ALTER INDEX points_ivf REBULD ONLINE\n"
        "                         ^\n"
    )


def test_backup(run: Run, file: Path, tmp_path: Path) -> None:
    """`backup` makes a whole copy, and never over another file."""
    target = tmp_path / "copy.db"

    result = run("backup", file, target, "--json")
    again = run("backup", file, target)

    assert json.loads(result.stdout) == {"backup": str(target), "bytes": target.stat().st_size}
    assert run("tables", target).stdout == run("tables", file).stdout
    assert errors_in(target) == ()
    assert again.exit_code == 1
    assert "exists already" in again.stderr
