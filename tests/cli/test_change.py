"""Commands that change the file or make another."""

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from tests.cli.conftest import Run, errors_in


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
        "centroidb: line 1: expected REBUILD, REORGANIZE, ROLLBACK or SET, got REBULD "
        "(did you mean REBUILD?)\n"
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


def test_a_verified_backup(run: Run, file: Path, tmp_path: Path) -> None:
    """`backup --verified` copies a whole file, and refuses one with a damaged row."""
    assert run("backup", file, tmp_path / "whole.db", "--verified").exit_code == 0
    damaged = tmp_path / "damaged.db"
    shutil.copy(file, damaged)
    with closing(sqlite3.connect(damaged, isolation_level=None)) as connection:
        connection.execute("UPDATE rows_1 SET crc = crc + 1 WHERE vid = 6")
    result = run("backup", damaged, tmp_path / "copy.db", "--verified")
    assert result.exit_code == 1
    assert "row version 6" in result.stderr
    assert not (tmp_path / "copy.db").exists()
