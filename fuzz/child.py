"""A victim in a process of its own, that may be killed; what it says outlives it in a pipe."""

import os
import select
import signal
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from . import native, victim
from .workloads import Workload

ENDED = 0
FAILED = 1
CHILD_MAX_S = 60

Fate = AbstractContextManager[object]
"""What the child lives in: something may happen to it there."""


@dataclass(frozen=True)
class Death:
    """What a child said, word by word, and how it ended."""

    said: list[str]
    status: int
    """ENDED, FAILED, or minus the signal."""


def run_child(
    made: Workload,
    home: Path,
    fate: Fate,
    *,
    kill_after_s: float | None = None,
    tolerant: bool = False,
) -> Death:
    """Run the workload in a child of this process.

    kill_after_s: it is killed after so long. tolerant: its calls may fail, with typed errors.
    """
    ours, theirs = os.pipe()
    number = os.fork()
    if not number:
        os.close(ours)
        _live(made, home, fate, theirs, tolerant=tolerant)
    os.close(theirs)
    try:
        words = _heard(ours, kill_after_s)
        if kill_after_s is not None:
            os.kill(number, signal.SIGKILL)
        words += _heard(ours, None)
    finally:
        os.close(ours)
        _, status = os.waitpid(number, 0)
    return Death(words.decode().splitlines(), os.waitstatus_to_exitcode(status))


def _live(made: Workload, home: Path, fate: Fate, pipe: int, *, tolerant: bool) -> None:
    """The child; never returns. It may be killed anywhere, but its words are in the pipe."""
    status = FAILED
    signal.alarm(CHILD_MAX_S)
    try:
        with native.watched(home), fate:
            victim.live(made, home, lambda word: _say(pipe, word), tolerant=tolerant)
            _say(pipe, "failed" if native.failed() else "unharmed")
        status = ENDED
    except BaseException as error:  # noqa: BLE001 - it is told, and the process ends here
        _say(pipe, f"failed {error!r}".replace("\n", " "))
    os._exit(status)


def _say(pipe: int, word: str) -> None:
    os.write(pipe, f"{word}\n".encode())


def _heard(pipe: int, for_s: float | None) -> bytes:
    """What is said until nobody is left to say more, or for so long."""
    until_s = None if for_s is None else time.monotonic() + for_s
    words = b""
    while True:
        left_s = None if until_s is None else max(0.0, until_s - time.monotonic())
        ready, _, _ = select.select([pipe], [], [], left_s)
        part = os.read(pipe, 65_536) if ready else b""
        if not part:
            return words
        words += part
