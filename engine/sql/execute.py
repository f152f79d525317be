"""A statement does what the method of the same meaning does, by calling it.

What a statement leaves open is not passed on, so the method's own default holds.
"""

from dataclasses import fields
from typing import Any, Protocol

from ...wal.blocking import run_blocking
from .parser import parse
from .statements import (
    AbortRebuild,
    CreateIndex,
    DropIndex,
    ExplainRebuild,
    PauseRebuild,
    RebuildIndex,
    Reorganize,
    ResumeRebuild,
    RollBack,
    SetIndex,
    Statement,
)

METHODS: dict[type[Statement], str] = {
    RebuildIndex: "rebuild",
    PauseRebuild: "pause_rebuild",
    ResumeRebuild: "resume_rebuild",
    AbortRebuild: "abort_rebuild",
    RollBack: "rollback",
    Reorganize: "reorganize",
    SetIndex: "alter",
    ExplainRebuild: "explain_rebuild",
}
"""The method of an index that each statement calls."""


class Catalog(Protocol):
    """The part of a database that statements use; its own types lie in a layer above."""

    async def table(self, name: str) -> Any: ...
    async def index(self, name: str) -> Any: ...
    async def drop_index(self, name: str, *, if_exists: bool = False) -> None: ...


async def execute(database: Catalog, text: str) -> Any:
    """Run one statement; returns what the method returns: an index, an outcome, or None.

    Raises:
        StatementError: The text is no statement.
    """
    statement = await run_blocking(parse, text)
    options = given(statement)
    match statement:
        case CreateIndex():
            table = await database.table(options.pop("table"))
            return await table.create_index(options.pop("name"), **options)
        case DropIndex():
            return await database.drop_index(options.pop("name"), **options)
        case _:
            index = await database.index(options.pop("name"))
            return await getattr(index, METHODS[type(statement)])(**options)


def given(statement: Statement) -> dict[str, Any]:
    """The fields that the statement sets."""
    values = {field.name: getattr(statement, field.name) for field in fields(statement)}
    unsaid = {field.name: field.default for field in fields(statement)}
    return {name: value for name, value in values.items() if value is not unsaid[name]}
