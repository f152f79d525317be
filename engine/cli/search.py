"""The command that searches."""

import json
from pathlib import Path
from typing import Any

import click

from ...wal.errors import InputError
from ..db import Database, Hits, Table
from .output import Record, show
from .session import database_argument, json_option, with_database


@click.command()
@database_argument
@click.argument("table")
@click.option("--vector", help="What to search for, as a JSON list of numbers.")
@click.option("--key", help="Search for the vector of the row with this key.")
@click.option("-k", default=10, show_default=True, help="How many rows to find.")
@click.option("--nprobe", type=int, help="How many partitions to read.")
@click.option("--accuracy", type=float, help="What share of the nearest to find, up to 1.")
@click.option("--exact", is_flag=True, help="Read every row.")
@click.option("--index", help="The index to use; by default the newest for the table's metric.")
@json_option
def search(
    file: Path, table: str, vector: str | None, key: str | None, as_json: bool, **options: Any
) -> None:
    """Find the rows of TABLE nearest to a vector or a row."""
    if (vector is None) == (key is None):
        raise click.UsageError("give either --vector or --key")

    async def work(database: Database) -> Hits:
        rows = await database.table(table)
        query = await vector_of(rows, key) if key is not None else numbers(vector or "")
        hits: Hits = await rows.search(query, **options)
        return hits

    show(records(with_database(file, work)), as_json=as_json)


def numbers(text: str) -> list[float]:
    """The vector that the text is."""
    try:
        vector = json.loads(text)
    except ValueError:
        vector = None
    if isinstance(vector, list) and all(type(number) in (int, float) for number in vector):
        return vector
    raise InputError(f"--vector: expected a JSON list of numbers, got {text!r}")


async def vector_of(table: Table, key: str) -> Any:
    """The stored vector of the row."""
    whole = (await table.statistics()).key_type == "int"
    try:
        row = await table.get(int(key) if whole else key, vectors=True)
    except ValueError:
        raise InputError(f"--key: the keys of {table.name!r} are integers, got {key!r}") from None
    if row is None:
        raise InputError(f"--key: table {table.name!r} has no row {key}")
    return row.vector


def records(hits: Hits) -> list[Record]:
    """One record a hit, nearest first."""
    return [{"id": hit.id, "distance": hit.distance, "payload": hit.payload} for hit in hits]
