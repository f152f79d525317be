"""Commands that look."""

import json
import sqlite3
from pathlib import Path

from tests.cli.conftest import Run, errors_in


def test_tables(run: Run, file: Path) -> None:
    """`tables` prints a line for each table, by name."""
    result = run("tables", file)

    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "name    dim  metric  key_type  rows  ended  indexes  changed_lsn",
        "points  3    l2      int       400   0      1        2",
        "words   2    cosine  str       0     0      0        4",
    ]


def test_tables_as_json(run: Run, file: Path) -> None:
    """`tables --json` prints a list of objects."""
    tables = json.loads(run("tables", file, "--json").stdout)

    assert [(table["name"], table["rows"]) for table in tables] == [("points", 400), ("words", 0)]


def test_indexes(run: Run, file: Path) -> None:
    """`indexes` names each index, its table and its size."""
    (index,) = json.loads(run("indexes", file, "--json").stdout)
    heading, line = run("indexes", file).stdout.splitlines()

    assert (index["name"], index["table"], index["nlist"]) == ("points_ivf", "points", 6)
    assert heading.split() == list(index)
    assert line.split()[:2] == ["points_ivf", "points"]


def test_stats_of_the_file(run: Run, file: Path) -> None:
    """`stats` shows the figures of the whole file."""
    figures = json.loads(run("stats", file, "--json").stdout)

    assert (figures["tables"], figures["indexes"], figures["path"]) == (2, 1, str(file))


def test_stats_of_an_index(run: Run, file: Path) -> None:
    """`stats` with a name shows the figures of that index, in both ways the same."""
    figures = json.loads(run("stats", file, "points_ivf", "--json").stdout)
    lines = dict(
        line.split(maxsplit=1) for line in run("stats", file, "points_ivf").stdout.splitlines()
    )

    assert (figures["rows"], figures["nlist"], figures["building"]) == (400, 6, False)
    assert lines.keys() == figures.keys()
    assert (lines["rows"], lines["nlist"], lines["building"]) == ("400", "6", "no")


def test_check_of_a_whole_file(run: Run, file: Path) -> None:
    """`check` says what it looked at and ends with 0."""
    plain, machine = run("check", file), run("check", file, "--json")

    assert (plain.exit_code, machine.exit_code) == (0, 0)
    assert plain.stdout.startswith("ok: 2 tables, 400 row versions")
    assert json.loads(machine.stdout)["ok"] is True


def test_check_of_a_damaged_file(run: Run, file: Path) -> None:
    """`check` says what is wrong and ends with 1."""
    with sqlite3.connect(file) as connection:
        (payload,) = connection.execute("SELECT payload FROM rows_1 WHERE vid = 7").fetchone()
        connection.execute("UPDATE rows_1 SET payload = '{}' WHERE vid = 7")
    connection.close()

    plain, machine = run("check", file), run("check", file, "--json")

    assert (plain.exit_code, machine.exit_code) == (1, 1)
    findings = json.loads(machine.stdout)
    assert findings["ok"] is False
    assert findings["errors"] == list(errors_in(file))
    assert plain.stdout.splitlines()[1:] == findings["errors"]

    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE rows_1 SET payload = ? WHERE vid = 7", [payload])
    connection.close()


def test_space(run: Run, file: Path) -> None:
    """`space` adds up to the file, and names tables and indexes."""
    found = json.loads(run("space", file, "--json").stdout)

    assert found["file_bytes"] == file.stat().st_size
    assert found["tables"]["points"]["rows_bytes"] <= found["rows_bytes"]
    assert found["indexes"]["points_ivf"]["generations"] == 1
    assert "rows_bytes" in run("space", file).stdout


def test_explain(run: Run, file: Path) -> None:
    """`explain` says what a rebuild would take, and builds nothing."""
    found = json.loads(run("explain", file, "points_ivf", "--json").stdout)
    by_statement = json.loads(run("sql", file, "EXPLAIN REBUILD points_ivf", "--json").stdout)

    assert (found["index"], found["action"]) == ("points_ivf", "none")
    assert found["predicted_s"] > 0
    assert by_statement["disk_bytes"] == found["disk_bytes"]
    assert len(json.loads(run("jobs", file, "--json").stdout)) == 1


def test_decisions(run: Run, file: Path) -> None:
    """`decisions` lists what was decided; where nothing was, it says so."""
    assert run("decisions", file).stdout == "none\n"
    assert run("decisions", file, "points_ivf", "--json").stdout == "[]\n"
    assert run("decisions", file, "nothing").exit_code == 1


def test_none(run: Run, file: Path) -> None:
    """Where there is nothing to list, the table is `none` and the JSON an empty list."""
    run("sql", file, "DROP INDEX points_ivf")

    assert run("indexes", file).stdout == "none\n"
    assert run("indexes", file, "--json").stdout == "[]\n"
