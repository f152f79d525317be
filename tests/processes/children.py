"""Children that cost little to start: forked from a server that has imported everything."""

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.crash.child", "tests.processes.roles"])


@contextmanager
def started(role: Callable[..., None], *arguments: Any) -> Iterator[tuple[BaseProcess, Connection]]:
    """A child that runs `role(*arguments, pipe)`, and our end of the pipe; killed at the end."""
    ours, theirs = _context.Pipe()
    process = _context.Process(target=role, args=(*arguments, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        yield process, ours
    finally:
        process.kill()
        process.join()
        process.close()
        ours.close()
