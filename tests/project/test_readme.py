"""The README: its programs run, its commands work, its links lead somewhere."""

import re
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.project.tree import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
FRAME = """
import centroidb
import trio


async def main():
    async with centroidb.open_db("notes.db") as db:
{body}


trio.run(main)
"""


def blocks(language: str) -> list[str]:
    """The fenced blocks in a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def run_python(program: str, folder: Path) -> str:
    """Runs a program in a folder and gives what it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where the lines of the API section have run, one after the other."""
    folder = tmp_path_factory.mktemp("readme")
    _, *parts = blocks("python")
    run_python(FRAME.format(body=textwrap.indent("\n".join(parts), " " * 8)), folder)
    return folder


def test_smallest_program_prints_what_is_shown(tmp_path: Path) -> None:
    """The first program runs as it stands, prints the block below it, and leaves one file."""
    program, (shown,) = blocks("python")[0], blocks("text")

    assert run_python(program, tmp_path) == shown
    assert [path.name for path in tmp_path.iterdir()] == ["colours.db"]


def test_api_lines_run(folder: Path) -> None:
    """The lines of the API section run in order and leave the database and its copy."""
    assert sorted(path.name for path in folder.glob("notes*")) == ["notes-copy.db", "notes.db"]


@pytest.mark.parametrize(
    "line", [line for block in blocks("sh") for line in block.splitlines() if "notes.db" in line]
)
def test_command_lines_run(line: str, folder: Path) -> None:
    """Each command of the command line section succeeds on the database of the API section."""
    program, *arguments = shlex.split(line)
    script = "from centroidb.engine.cli import main; main()"

    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], cwd=folder, capture_output=True, text=True
    )

    assert program == "centroidb"
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_make_targets_exist() -> None:
    """Every make target that the README names is in the Makefile."""
    named = set(re.findall(r"\bmake ([a-z]+)\b", README))
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    assert {"demo", "test", "bench"} <= named <= targets


def test_links_lead_somewhere() -> None:
    """Every link to a file of the repository leads to one."""
    linked = re.findall(r"\]\(((?!https?:)[^)]+)\)", README)

    assert linked
    assert [link for link in linked if not (ROOT / link).is_file()] == []
