"""The program as a whole: errors, help, and life beside a writer."""

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest
import trio

import centroidb
from centroidb.engine.cli import demo, main
from tests.cli.conftest import Run

PROGRAM = (sys.executable, "-c", "from centroidb.engine.cli import main; main()")


def test_every_command_has_help(run: Run) -> None:
    """Every command explains itself, and all speak JSON."""
    assert isinstance(main, click.Group)
    assert list(main.commands) == [
        *("demo", "tables", "indexes", "stats"),
        *("explain", "decisions", "jobs", "space", "search", "check"),
        *("rebuild", "reorganize", "rollback", "abort", "sql", "backup"),
    ]
    for name, command in main.commands.items():
        usage = run(name, "--help").stdout
        assert command.help
        assert "--json" in usage


def test_the_figures_of_the_demo(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """As JSON the demo's figures are alone on stdout; its text is on stderr."""

    def told(_: Path) -> dict[str, int]:
        sys.stdout.write("what it says")
        return {"rows": 7}

    monkeypatch.setattr(demo, "run", told)
    result = run("demo", "--json")

    assert json.loads(result.stdout) == {"rows": 7}
    assert "what it says" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["stats", "points_ifv"], "no index named 'points_ifv'; did you mean 'points_ivf'?"),
        (["search", "point", "--key", "1"], "no table named 'point'; did you mean 'points'?"),
        (["rebuild", "points_ivf", "--nlist", "0"], "nlist: expected an integer from 1 to 65,535"),
    ],
)
def test_errors_are_one_line(run: Run, file: Path, arguments: list[str], message: str) -> None:
    """An error of the library is its message in one line, and exit code 1."""
    command, *rest = arguments

    result = run(command, file, *rest)

    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith(f"centroidb: {message}")
    assert result.stdout == ""


def test_other_files_are_refused(run: Run, tmp_path: Path) -> None:
    """A file that is no database is named, and left as it is; a missing one is wrong usage."""
    other = tmp_path / "notes.txt"
    other.write_text("not a database", encoding="utf-8")

    refused, missing = run("tables", other), run("tables", tmp_path / "missing.db")

    assert refused.exit_code == 1
    assert refused.stderr.startswith(f"centroidb: {other}: not a CentroiDB database")
    assert other.read_text(encoding="utf-8") == "not a database"
    assert missing.exit_code == 2


def test_demo_names_the_missing_extra(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its extra the demo says what to install."""

    def lacking(folder: Path) -> None:
        raise ModuleNotFoundError(name="matplotlib")

    monkeypatch.setattr(demo, "run", lacking)

    result = run("demo")

    assert result.exit_code == 1
    assert result.stderr == "centroidb: matplotlib is missing: pip install 'centroidb[demo]'\n"


async def outside(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Runs the program in a process of its own."""
    command = [*PROGRAM, *map(str, arguments)]
    done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
    return subprocess.CompletedProcess(
        command, done.returncode, done.stdout.decode(), done.stderr.decode()
    )


async def test_beside_a_writer(file: Path) -> None:
    """While another process writes, reading commands work and writing ones name the owner."""
    async with centroidb.open_db(file) as db:
        points = await db.table("points")
        await points.delete(list(range(100)))

        listed = await outside("tables", file)
        refused = await outside("rebuild", file, "points_ivf")

    assert listed.returncode == 0
    assert "300" in listed.stdout.splitlines()[1].split()
    assert refused.returncode == 1
    assert "centroidb: " in refused.stderr
    assert "process" in refused.stderr
