"""What tests of rows and their vectors share."""

import sqlite3
from collections.abc import Iterator

import pytest

from tests.wal.files import errors_of, memory_file


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    """An empty database."""
    made = memory_file()
    yield made
    assert errors_of(made) == []
    made.close()
