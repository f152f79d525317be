"""Commands about jobs: bars, lists, interrupts, and what is found paused in a file."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import trio

import centroidb
from centroidb import Event, Job
from centroidb.engine.cli.jobs import ThrottleType, beside, status_line
from tests.cli.conftest import Run


def test_rebuild(run: Run, file: Path) -> None:
    """`rebuild` builds the index anew, tells so on stderr, and prints the outcome."""
    result = run("rebuild", file, "points_ivf", "--nlist", 9, "--parallel", 2, "--json")

    assert result.exit_code == 0
    told = result.stderr.splitlines()
    assert told[0] == "rebuilding points_ivf"
    assert told[1].startswith("points_ivf: ")
    outcome = json.loads(result.stdout)
    assert (outcome["index"], outcome["nlist"], outcome["rows"]) == ("points_ivf", 9, 400)
    assert json.loads(run("stats", file, "points_ivf", "--json").stdout)["nlist"] == 9


def test_beside_the_bar() -> None:
    """Beside the bar stand the phase, how far and how fast it is, and how far it lags behind."""
    figures: dict[str, Any] = {"fraction": 0.5, "rows": 7, "rows_total": 20, "elapsed_s": 1.0}
    lagging = Event(phase="catch up", lag=13, lag_slope=-40.0, eta_s=None, **figures)
    training = Event(phase="cluster", round=3, rounds=10, rows_per_s=1e4, eta_s=2.0, **figures)

    assert beside(lagging) == "catch up, 7 of 20 rows, lag 13 (-40 rows/s)"
    assert beside(training) == "cluster, round 3 of 10, 7 of 20 rows, 10,000 rows/s, 2 s to go"
    assert beside(None) is None


def test_an_interrupt_pauses(run: Run, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the middle of a rebuild leaves a paused job, and --resume goes on with it."""
    listen = Job._listen

    def interrupted(job: Job, event: Event) -> None:
        listen(job, event)
        if event.phase == "cluster" and event.round == 1:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Job, "_listen", interrupted)
    stopped = run("rebuild", file, "points_ivf", "--nlist", 9)
    monkeypatch.undo()

    assert stopped.exit_code == 1
    assert "is paused: run it again with --resume" in stopped.stderr
    assert [job["state"] for job in _jobs(run, file)] == ["paused", "done"]
    resumed = run("rebuild", file, "points_ivf", "--resume", "--json")
    assert json.loads(resumed.stdout)["nlist"] == 9
    assert [job["state"] for job in _jobs(run, file)] == ["done", "done"]


def _jobs(run: Run, file: Path) -> Any:
    return json.loads(run("jobs", file, "--json").stdout)


def test_what_is_found_paused_can_be_aborted(run: Run, file: Path) -> None:
    """`abort` drops what a rebuild has kept; the index stays as it was."""
    stopped = run("rebuild", file, "points_ivf", "--nlist", 9, "--max-duration", "1e-9")
    assert stopped.exit_code == 1
    assert [job["state"] for job in _jobs(run, file)] == ["paused", "done"]
    assert json.loads(run("abort", file, "points_ivf", "--json").stdout) == {
        "aborted": "points_ivf"
    }
    assert [job["state"] for job in _jobs(run, file)] == ["cancelled", "done"]
    nothing = run("abort", file, "points_ivf")
    assert nothing.exit_code == 1
    assert "there is no rebuild to abort" in nothing.stderr


def test_rollback(run: Run, file: Path) -> None:
    """`rollback` brings back what `rebuild --keep-previous` has kept."""
    run("rebuild", file, "points_ivf", "--nlist", 9, "--keep-previous", 1)
    assert json.loads(run("rollback", file, "points_ivf", "--json").stdout)["nlist"] == 6


def test_reorganize(run: Run, file: Path) -> None:
    """`reorganize` says what it did, and that is nothing where all partitions are well."""
    found = json.loads(run("reorganize", file, "points_ivf", "--partitions", 2, "--json").stdout)
    assert (found["index"], found["nlist_before"]) == ("points_ivf", 6)
    assert found["split"] + found["merged"] <= 2


def test_options_that_do_not_go_together(run: Run, file: Path) -> None:
    """A build that goes on is what it was begun as: --nlist beside --resume is wrong usage."""
    result = run("rebuild", file, "points_ivf", "--resume", "--nlist", 9)
    assert result.exit_code == 2
    assert "without nlist" in result.stderr


@pytest.mark.parametrize(("text", "throttle"), [("50%", 0.5), ("5000", 5000)])
def test_throttles(text: str, throttle: float) -> None:
    """A percentage is a share of a core, a number is rows a second; the types tell them apart."""
    found = ThrottleType().convert(text, None, None)
    assert (found, type(found)) == (throttle, type(throttle))


def test_jobs_that_run_elsewhere_are_told_in_a_line(run: Run, file: Path) -> None:
    """A job of the owner is seen by a reader, and `jobs --watch` ends when none runs."""
    lines: list[str] = []

    async def main() -> None:
        async with centroidb.open_db(file) as db:
            index = await db.index("points_ivf")
            async with index.rebuilding(nlist=9) as job:
                await anext(aiter(job))
                async with centroidb.open_db(file, read_only=True) as reader:
                    lines.extend(map(status_line, await reader.jobs()))
                await job.wait()

    trio.run(main)
    assert lines[0].startswith("rebuild of points_ivf: ")
    watched = run("jobs", file, "--watch")
    assert watched.exit_code == 0
    assert "done" in watched.stdout
