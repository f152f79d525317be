"""Commands that change FILE or make another: rebuild, sql, backup."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from ..db import Database, Event, Index, Outcome
from .output import Record, show
from .session import database_argument, json_option, with_database

BAR_STEPS = 1000


@click.command()
@database_argument
@click.argument("index")
@click.option("--parallel", type=int, help="Worker threads; by default all cores but one.")
@click.option("--nlist", type=int, help="Partitions; by default by the number of rows.")
@json_option
def rebuild(file: Path, index: str, as_json: bool, **options: Any) -> None:
    """Rebuild an INDEX of FILE online, with a progress bar."""

    async def work(database: Database) -> Record:
        return asdict(await watched(await database.index(index), **options))

    show(with_database(file, work, read_only=False), as_json=as_json)


async def watched(index: Index, **options: Any) -> Outcome:
    """Rebuild the index and draw its progress on stderr."""
    bar = click.progressbar(
        length=BAR_STEPS, label=f"rebuilding {index.name}", file=sys.stderr, item_show_func=beside
    )
    with bar:
        async with index.rebuilding(**options) as job:
            async for event in job:
                bar.update(round(event.fraction * BAR_STEPS) - bar.pos, event)
        bar.update(BAR_STEPS - bar.pos)
    return job.outcome


def beside(event: Event | None) -> str | None:
    """What stands beside the bar."""
    if event is None:
        return None
    return f"{event.phase}, {event.rows} of {event.rows_total}, lag {event.lag}"


@click.command()
@database_argument
@click.argument("statement")
@json_option
def sql(file: Path, statement: str, as_json: bool) -> None:
    """Create, rebuild or drop an index by a STATEMENT."""

    async def work(database: Database) -> Record:
        match await database.execute(statement):
            case Index() as made:
                return asdict(await made.statistics())
            case Outcome() as outcome:
                return asdict(outcome)
            case _:
                return {"done": statement}

    show(with_database(file, work, read_only=False), as_json=as_json)


@click.command()
@database_argument
@click.argument("target", type=click.Path(path_type=Path))
@json_option
def backup(file: Path, target: Path, as_json: bool) -> None:
    """Copy FILE, as it is at one moment, to TARGET."""

    async def work(database: Database) -> None:
        await database.backup(target)

    with_database(file, work)
    show({"backup": str(target), "bytes": target.stat().st_size}, as_json=as_json)
