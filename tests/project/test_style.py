"""The style: sizes of functions and files, words that may not stay, docstrings that must be."""

import ast
import io
import re
import statistics
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.project.tree import LIBRARY, ROOT, functions, name, sources, tree

EVERYTHING = (*LIBRARY, "tests", "fuzz")
PUBLIC = ("engine/api", "engine/db")

FORBIDDEN_WORDS = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
FORBIDDEN_MODULES = {"pickle", "dill", "shelve", "marshal"}
SIZES = list(functions(*LIBRARY))


def test_no_function_has_70_lines() -> None:
    """No function, in the library or its tests, is over 70 lines without its docstring."""
    assert [each for each in functions(*EVERYTHING) if each.lines > 70] == []


def test_half_of_the_functions_are_short() -> None:
    """Half of the library's functions stay under 8 lines."""
    assert statistics.median(each.lines for each in SIZES) < 8


def test_nine_functions_in_ten_fit_a_glance() -> None:
    """Nine in ten of the library's functions stay under 30 lines."""
    short = sum(each.lines < 30 for each in SIZES)

    assert short >= 0.9 * len(SIZES)


def test_no_file_has_500_lines() -> None:
    """Every source file stays under 500 lines."""
    long = [path for path in sources(*EVERYTHING) if len(lines(path)) >= 500]

    assert [name(path) for path in long] == []


def test_no_line_is_over_100_columns() -> None:
    """Grammars and schemas fit 100 columns, as ruff sees to in Python."""
    assert [
        f"{name(path)}:{number}"
        for path in [*texts("*.lark"), *texts("*.sql")]
        for number, line in enumerate(lines(path), 1)
        if len(line) > 100
    ] == []


def test_no_work_is_left_in_comments() -> None:
    """No comment puts off work: what is missing is done or written in the documentation."""
    assert [
        f"{name(path)}:{token.start[0]}"
        for path in sources(*EVERYTHING)
        for token in comments(path)
        if FORBIDDEN_WORDS.search(token.string)
    ] == []


def test_every_module_says_what_it_is() -> None:
    """Every source file begins with a docstring."""
    assert [name(path) for path in sources(*EVERYTHING) if not ast.get_docstring(tree(path))] == []


def test_every_test_says_what_must_hold() -> None:
    """Every test function has a docstring."""
    assert [
        f"{name(path)}:{node.lineno} {node.name}"
        for path in sources("tests")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not ast.get_docstring(node)
    ] == []


def test_the_public_api_is_documented() -> None:
    """Every public class, function and method of the API has a docstring."""
    assert [
        f"{name(path)}:{node.lineno} {node.name}"
        for path in sources(*PUBLIC)
        for node in public(tree(path))
        if not ast.get_docstring(node)
    ] == []


def test_nothing_unpickles_or_evaluates() -> None:
    """The library runs no code that it reads: no eval, no exec, no pickle."""
    files = sources(*LIBRARY)

    assert [place for path in files for place in calls(path, {"eval", "exec"})] == []
    assert [name(path) for path in files if imports(path) & FORBIDDEN_MODULES] == []


def test_only_sqlite_opens_the_database() -> None:
    """Above `wal` nothing opens a file: closing a plain handle drops SQLite's locks."""
    files = sources("engine/actors", "engine/api", "engine/db", "engine/index", "txn")
    files = [path for path in files if name(path) != "engine/index/library.py"]  # its own library
    doors = {"open", "read_bytes", "read_text", "write_bytes", "write_text"}

    assert [place for path in files for place in calls(path, doors)] == []


@pytest.mark.parametrize("word", ["blazing", "production-ready", "battle-tested", "lightning"])
def test_the_documentation_does_not_boast(word: str) -> None:
    """The documentation states what was measured and praises nothing."""
    pages = [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")]

    assert [name(page) for page in pages if word in page.read_text(encoding="utf-8").lower()] == []


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def texts(pattern: str) -> list[Path]:
    return sorted(path for top in LIBRARY for path in (ROOT / top).rglob(pattern))


def comments(path: Path) -> Iterator[tokenize.TokenInfo]:
    reader = io.StringIO(path.read_text(encoding="utf-8")).readline
    return (token for token in tokenize.generate_tokens(reader) if token.type == tokenize.COMMENT)


def public(
    node: ast.Module | ast.ClassDef,
) -> Iterator[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    """The definitions a caller can name, those inside public classes included."""
    for child in node.body:
        if not isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if child.name.startswith("_") or is_overload(child):
            continue
        yield child
        if isinstance(child, ast.ClassDef):
            yield from public(child)


def is_overload(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any(isinstance(each, ast.Name) and each.id == "overload" for each in node.decorator_list)


def calls(path: Path, names: set[str]) -> Iterator[str]:
    """Where the file calls something of these names."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call) and called(node.func) in names:
            yield f"{name(path)}:{node.lineno}"


def called(function: ast.expr) -> str:
    """The name of a function, or of a method of paths such as `read_text`; a gate may `open`."""
    if isinstance(function, ast.Name):
        return function.id
    if isinstance(function, ast.Attribute) and "_" in function.attr:
        return function.attr
    return ""


def imports(path: Path) -> set[str]:
    """The top-level modules that the file imports by their full names."""
    found = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found
