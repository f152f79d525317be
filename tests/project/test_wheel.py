"""The wheel, as somebody gets it who has no checkout."""

import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from tests.project.tree import FACADE, LIBRARY, ROOT, sources

SOURCES = ("pyproject.toml", "README.md", "LICENSE", *LIBRARY)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel built from a copy of the tree, so that no older build leaks into it."""
    copy = tmp_path_factory.mktemp("tree")
    for source in SOURCES:
        if (ROOT / source).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / source, copy / source, ignore=ignored)
        else:
            shutil.copy(ROOT / source, copy)
    options = ["--no-deps", "--no-build-isolation", "--quiet", "--wheel-dir", str(copy / "dist")]
    run(sys.executable, "-m", "pip", "wheel", *options, str(copy))
    (built,) = (copy / "dist").glob("*.whl")
    return built


def run(*command: str) -> str:
    """Runs a command and gives its output; on failure the test shows what it wrote."""
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def installed_modules() -> list[str]:
    """Every module the wheel must have, by its import name."""
    names = {"centroidb"}
    for path in sources(*LIBRARY):
        if FACADE not in path.parents:
            parts = path.relative_to(ROOT).with_suffix("").parts
            names.add(".".join(("centroidb", *parts)).removesuffix(".__init__"))
    return sorted(names)


def test_wheel_holds_one_top_level_package(wheel: Path) -> None:
    """Nothing but `centroidb` and its metadata reaches site-packages."""
    tops = {entry.split("/")[0] for entry in zipfile.ZipFile(wheel).namelist()}

    assert {top.partition("-")[0] for top in tops} == {"centroidb"}
    assert len(tops) == 2


def test_wheel_holds_the_files_that_are_not_python(wheel: Path) -> None:
    """The typing marker, the grammar, the schema and the licence are in the wheel."""
    entries = set(zipfile.ZipFile(wheel).namelist())
    texts = {
        path for top in LIBRARY for kind in ("*.lark", "*.sql") for path in (ROOT / top).rglob(kind)
    }

    assert "centroidb/py.typed" in entries
    assert any(entry.endswith("licenses/LICENSE") for entry in entries)
    assert {f"centroidb/{path.relative_to(ROOT).as_posix()}" for path in texts} <= entries


def test_every_module_imports_from_the_wheel(wheel: Path, tmp_path: Path) -> None:
    """Installed into an empty environment, every module imports, from the wheel alone."""
    home = tmp_path / "empty"
    venv.create(home, with_pip=False)
    python = str(home / "bin" / "python")
    pip = (sys.executable, "-m", "pip", "--python", python)
    run(*pip, "install", "--no-deps", "--quiet", str(wheel))
    modules = installed_modules()
    program = (
        "import importlib, importlib.util as util, sys\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        f"assert not any(util.find_spec(name) for name in {LIBRARY!r})\n"
        "print(sys.modules['centroidb'].__file__)"
    )
    # The dependencies are those of this environment; its editable install is not seen by this way.
    dependencies = sysconfig.get_path("purelib")
    origin = run(python, "-I", "-c", f"import sys; sys.path.append({dependencies!r})\n{program}")

    assert Path(origin.strip()).is_relative_to(home)
