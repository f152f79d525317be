"""A scene in a file opened read-only, beside its owner: each view is a read transaction there."""

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from centroidb.engine.db.source import ForeignSource

from .scene import Scene


@dataclass
class ReadingScene(Scene):
    """The calls go to the reader; what they may not leave are views and connections."""

    _made: list[sqlite3.Connection] = field(default_factory=list)
    """Every connection that was opened."""

    def __post_init__(self) -> None:
        file = self._reader()._file
        file.open_reader = self._noted(file.open_reader)  # type: ignore[method-assign]

    def _reader(self) -> ForeignSource:
        source = self.database._source
        assert isinstance(source, ForeignSource)
        return source

    def _noted(
        self, open_reader: Callable[[], sqlite3.Connection]
    ) -> Callable[[], sqlite3.Connection]:
        def noted() -> sqlite3.Connection:
            self._made.append(open_reader())
            return self._made[-1]

        return noted

    def held(self) -> list[str]:
        """What the owner holds, and views and connections of the reader that nobody can use."""
        source = self._reader()
        idle = source._idle
        self._made = [connection for connection in self._made if _is_open(connection)]
        found = {
            "views": len(source._open),
            "connections": sum(connection not in idle for connection in self._made),
            "read transactions": sum(connection.in_transaction for connection in idle),
        }
        return super().held() + [what for what, number in found.items() if number]

    async def tidy(self) -> None:
        """It builds nothing."""


def _is_open(connection: sqlite3.Connection) -> bool:
    with suppress(sqlite3.ProgrammingError):
        return connection.total_changes >= 0
    return False
