"""The layout: what lies at the top, and which packages there are."""

import tomllib
from pathlib import Path

from tests.project.tree import FACADE, LIBRARY, ROOT, sources, tree

TOP = {
    *("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "Makefile", ".gitignore"),
    *("engine", "txn", "wal", "tests", "fuzz", "docs", ".ci"),
}
MADE = {".git", ".venv", ".venv-peers", "build", "dist", "centroidb.egg-info", ".hypothesis"}


def test_top_level_holds_nothing_more() -> None:
    """The top level holds the agreed names, what tools make there, and nothing else."""
    present = {path.name for path in ROOT.iterdir() if not path.name.endswith("_cache")}

    assert present >= TOP
    assert present - TOP <= MADE


def test_every_package_is_listed() -> None:
    """The packages that go into the wheel are those that lie in the tree."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    found = {"centroidb"} | {
        "centroidb." + ".".join(init.parent.relative_to(ROOT).parts)
        for top in LIBRARY
        for init in (ROOT / top).rglob("__init__.py")
        if init.parent != FACADE
    }

    assert set(settings["tool"]["setuptools"]["packages"]) == found


def test_every_source_is_in_a_package() -> None:
    """A folder with Python files has an `__init__.py`, else the wheel would lack it."""
    folders = {path.parent for path in sources(*LIBRARY)}

    assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []


def test_facade_is_one_file() -> None:
    """The facade is `__init__.py` and `py.typed`: a third file could not be imported."""
    names = {path.name for path in FACADE.iterdir() if path.name != "__pycache__"}

    assert names == {"__init__.py", "py.typed"}


def test_inits_hold_no_logic() -> None:
    """An `__init__.py` of the library is a doc line, imports and `__all__`."""
    inits = [path for path in sources(*LIBRARY) if path.name == "__init__.py"]

    assert [path for path in inits if not only_reexports(path)] == []


def only_reexports(path: Path) -> bool:
    """Whether the file holds only a docstring, imports, lists of names and a version."""
    kinds = {type(node).__name__ for node in tree(path).body}
    return kinds <= {"Expr", "Import", "ImportFrom", "Assign"}
