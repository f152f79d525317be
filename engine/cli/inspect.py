"""Commands that look: tables, indexes, stats, space, check. They run beside the owner."""

from dataclasses import asdict
from pathlib import Path

import click

from ..db import Database
from .output import Record, show
from .session import database_argument, json_option, with_database

INDEX_COLUMNS = ("name", "table", "metric", "codec", "rows", "nlist", "imbalance", "advice")


@click.command()
@database_argument
@json_option
def tables(file: Path, as_json: bool) -> None:
    """List the tables of FILE."""

    async def work(database: Database) -> list[Record]:
        return [asdict(await table.statistics()) for table in await database.tables()]

    show(with_database(file, work), as_json=as_json)


@click.command()
@database_argument
@json_option
def indexes(file: Path, as_json: bool) -> None:
    """List the indexes of FILE."""

    async def work(database: Database) -> list[Record]:
        found = [asdict(await index.statistics()) for index in await database.indexes()]
        return [{column: each[column] for column in INDEX_COLUMNS} for each in found]

    show(with_database(file, work), as_json=as_json)


@click.command()
@database_argument
@click.argument("index", required=False)
@json_option
def stats(file: Path, index: str | None, as_json: bool) -> None:
    """Show the figures of FILE, or of one INDEX in it."""

    async def work(database: Database) -> Record:
        subject = database if index is None else await database.index(index)
        return asdict(await subject.statistics())

    show(with_database(file, work), as_json=as_json)


@click.command()
@database_argument
@json_option
def space(file: Path, as_json: bool) -> None:
    """Say what each thing in FILE costs, in bytes."""
    show(asdict(with_database(file, Database.space)), as_json=as_json)


@click.command()
@database_argument
@json_option
@click.pass_context
def check(ctx: click.Context, file: Path, as_json: bool) -> None:
    """Prove that FILE is whole; exit code 1 if it is not."""
    findings = with_database(file, Database.check)
    if as_json:
        show({"ok": findings.ok, **asdict(findings)}, as_json=True)
    else:
        click.echo(str(findings))
    ctx.exit(0 if findings.ok else 1)


@click.command()
@database_argument
@click.argument("index")
@json_option
def explain(file: Path, index: str, as_json: bool) -> None:
    """Say whether an INDEX should be rebuilt, why, what it would take and gain."""

    async def work(database: Database) -> Record:
        return asdict(await (await database.index(index)).explain_rebuild())

    show(with_database(file, work), as_json=as_json)


@click.command()
@database_argument
@click.argument("index", required=False)
@json_option
def decisions(file: Path, index: str | None, as_json: bool) -> None:
    """List what was decided about the indexes of FILE, newest first."""

    async def work(database: Database) -> list[Record]:
        return [asdict(decision) for decision in await database.decisions(index)]

    show(with_database(file, work), as_json=as_json)
