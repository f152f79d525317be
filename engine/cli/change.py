"""Commands that change FILE or make another: sql, backup."""

from dataclasses import asdict, is_dataclass
from pathlib import Path

import click

from ..db import Database, Index
from .output import Record, show
from .session import database_argument, json_option, with_database


@click.command()
@database_argument
@click.argument("statement")
@json_option
def sql(file: Path, statement: str, as_json: bool) -> None:
    """Create, rebuild, tend or drop an index by a STATEMENT."""

    async def work(database: Database) -> Record:
        match await database.execute(statement):
            case Index() as made:
                return asdict(await made.statistics())
            case result if is_dataclass(result) and not isinstance(result, type):
                return asdict(result)
            case _:
                return {"done": statement}

    show(with_database(file, work, read_only=False), as_json=as_json)


@click.command()
@database_argument
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--verified", is_flag=True, help="Prove first that FILE is whole.")
@json_option
def backup(file: Path, target: Path, verified: bool, as_json: bool) -> None:
    """Copy FILE, as it is at one moment, to TARGET."""

    async def work(database: Database) -> None:
        await database.backup(target)

    with_database(file, work, verify="full" if verified else "quick")
    show({"backup": str(target), "bytes": target.stat().st_size}, as_json=as_json)
