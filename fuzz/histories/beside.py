"""Another process (`reader`) that reads the file all the while, and is asked what it sees."""

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

ENDS_WITHIN_S = 60.0


@dataclass(frozen=True)
class Seen:
    """What one snapshot of the other process held."""

    lsn: int
    rows: dict[int, int]
    found: dict[str, Any]
    """What a search found, as `Finding` has it."""


class Beside:
    """The other process, as this one knows it."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    async def ask(self, table: str, query: int) -> Seen:
        """What it sees now, in a snapshot begun after this call."""
        line = await trio.to_thread.run_sync(self._asked, f"{table} {query}")
        answer = json.loads(line)
        found = answer["found"]
        found |= {"keys": tuple(found["keys"]), "distances": bytes.fromhex(found["distances"])}
        return Seen(answer["lsn"], dict(answer["rows"]), found)

    def _asked(self, question: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{question}\n")
        self._process.stdin.flush()
        return self._process.stdout.readline()


def _started(path: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "fuzz.histories.reader", path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@asynccontextmanager
async def beside(path: Path) -> AsyncIterator[Beside]:
    """A process that reads this file; at the end it must close it as it should."""
    process = await trio.to_thread.run_sync(_started, path)
    try:
        yield Beside(process)
        await trio.to_thread.run_sync(lambda: process.communicate(timeout=ENDS_WITHIN_S))
        assert process.returncode == 0, f"the reader ended with {process.returncode}"
    finally:
        process.kill()
        process.wait()
