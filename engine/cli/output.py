"""How results are shown: a table to read, or JSON to process. rich draws the table if it is there.

A result is a list of records (one line each) or one record (one line a field).
"""

import json
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click
import numpy as np

Record = Mapping[str, Any]

CELL_WIDTH_MAX = 100


def show(result: Sequence[Record] | Record, *, as_json: bool) -> None:
    """Print a result in the way asked for."""
    if as_json:
        click.echo(json.dumps(plain(result), ensure_ascii=False, allow_nan=False))
    elif isinstance(result, Mapping):
        draw(["", ""], [[name, cell(value)] for name, value in result.items()])
    elif result:
        names = list(result[0])
        draw(names, [[cell(record[name]) for name in names] for record in result])
    else:
        click.echo("none")


def plain(value: Any) -> Any:
    """The value in JSON's own types; what is not a number there (nan, inf) is null."""
    if isinstance(value, Mapping):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Sequence | set | frozenset):
        return [plain(each) for each in value]
    return str(value)


def cell(value: Any) -> str:
    """The value in the width of a table's cell."""
    value = plain(value)
    match value:
        case None:
            text = "-"
        case bool():
            text = "yes" if value else "no"
        case float():
            text = f"{value:.6g}"
        case dict() | list():
            text = json.dumps(value, ensure_ascii=False)
        case _:
            text = str(value)
    one_line = " ".join(text.split())
    return one_line if len(one_line) <= CELL_WIDTH_MAX else one_line[: CELL_WIDTH_MAX - 3] + "..."


def draw(names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table, by rich on a terminal, else in plain columns."""
    if sys.stdout.isatty() and rich_is_there():
        draw_rich(names, rows)
    else:
        draw_plain(names, rows)


def draw_plain(names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns two spaces apart, with a heading where there is one."""
    lines = [names, *rows] if any(names) else rows
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (text.ljust(width) for text, width in zip(line, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


def draw_rich(names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """The same with rich's rules and colours."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*names, show_header=any(names))
    for row in rows:
        table.add_row(*map(Text, row))
    Console().print(table)


def rich_is_there() -> bool:
    """Whether the extra `cli` is installed."""
    try:
        import rich  # noqa: F401 - only whether it can be
    except ImportError:
        return False
    return True
