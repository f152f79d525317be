"""The other end of a child: a system in a process of its own, which is asked."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Timer
from typing import Any

from tests.bench.systems import SYSTEMS

LIMIT_S = 3_600.0
"""A system that has not answered by then is given up."""
NO_REASON = "it ended without a word"


class Asked:
    """The process; once it has failed to answer, it is not asked again."""

    def __init__(self, process: "subprocess.Popen[str]", log: Path) -> None:
        self._process = process
        self._log = log
        self._gone = ""

    def ask(self, do: str, **options: Any) -> dict[str, Any]:
        """Its figures, or {"failed": the reason}."""
        if self._gone:
            return {"failed": self._gone}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        timer = Timer(LIMIT_S, self._process.kill)
        timer.start()
        try:
            print(json.dumps({"do": do, **options}), file=self._process.stdin, flush=True)
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            timer.cancel()
        if not line:
            self._gone = self._reason()
            return {"failed": self._gone}
        return dict(json.loads(line))

    def _reason(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").split("\n")
        said = [line.strip() for line in lines if line.strip()]
        return said[-1] if said else NO_REASON


class Missing(Asked):
    """A system that is not installed: it only has a reason."""

    def __init__(self, python: str) -> None:
        self._gone = f"{python} is missing: make .venv-peers/bench-peers.stamp"


@contextmanager
def asking(name: str, set_folder: Path, log: Path) -> Iterator[Asked]:
    """The system of this name on the set, until the end of the body."""
    python = SYSTEMS[name].python
    if not Path(python).exists():
        yield Missing(python)
        return
    command = [python, "-m", "tests.bench.child", name, str(set_folder)]
    with (
        log.open("w") as errors,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        yield Asked(process, log)
        assert process.stdin is not None
        with suppress(BrokenPipeError):
            process.stdin.close()  # it ends when there are no more questions
