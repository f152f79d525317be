"""Commands about jobs: rebuild, reorganize, rollback, abort; and jobs, which watches them."""

import json
import signal
import sys
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import trio

from ..db import Database, Event, Job, JobStatus, Outcome
from ..db.errors import JobPaused
from .output import Record, plain, show
from .session import database_argument, json_option, with_database

BAR_STEPS = 1000
WATCH_EVERY_S = 0.5
COLUMNS = ("id", "index", "kind", "state", "phase", "fraction", "rows_per_s", "lag_rows", "eta_s")


class ThrottleType(click.ParamType[float | int]):
    """`50%` is a share of one core, `5000` is rows a second."""

    name = "throttle"

    def convert(self, value: Any, param: Any, ctx: Any) -> float | int:
        """The value as `rebuild` takes it."""
        try:
            text = str(value)
            return float(text[:-1]) / 100 if text.endswith("%") else int(text)
        except ValueError:
            self.fail(f"expected a percentage like 50% or rows a second, got {value!r}", param, ctx)


@click.command()
@database_argument
@click.argument("index")
@click.option("--resume", is_flag=True, help="Go on with a rebuild that was paused or interrupted.")
@click.option("--parallel", type=int, help="Worker threads; by default all cores but one.")
@click.option("--throttle", type=ThrottleType(), help="50% of a core, or 5000 rows a second.")
@click.option("--max-duration", type=float, help="Seconds; then it is paused.")
@click.option("--nlist", type=int, help="Partitions; by default by the number of rows.")
@click.option("--metric", type=click.Choice(["l2", "cosine", "dot"]))
@click.option("--codec", type=click.Choice(["auto", "flat", "sq8"]))
@click.option("--memory-bytes", type=int, help="What it may take of memory.")
@click.option("--keep-previous", type=int, help="Generations that a rollback can bring back.")
@json_option
def rebuild(file: Path, index: str, resume: bool, as_json: bool, **options: Any) -> None:
    """Rebuild an INDEX of FILE online, with a progress bar.

    Ctrl-C pauses it, durably: --resume goes on from there.
    """
    given = {name: value for name, value in options.items() if value is not None}

    async def work(database: Database) -> Record:
        found = await database.index(index)
        jobs = found.resuming(**given) if resume else found.rebuilding(**given)
        return asdict(await watched(index, jobs))

    if resume and (wrong := given.keys() - {"parallel", "throttle", "max_duration"}):
        raise click.UsageError(f"--resume goes on as it was begun, without {', '.join(wrong)}")
    show(with_database(file, work, read_only=False), as_json=as_json)


async def watched(index: str, jobs: AbstractAsyncContextManager[Job]) -> Outcome:
    """Run the job, draw its progress on stderr, and pause it at an interrupt.

    Where nobody can see a bar, a line says when each phase begins.
    """
    bar = click.progressbar(
        length=BAR_STEPS, label=f"rebuilding {index}", file=sys.stderr, item_show_func=beside
    )
    with bar:
        async with jobs as job, trio.open_nursery() as nursery:
            nursery.start_soon(_pause_at_interrupt, job)
            phase = ""
            async for event in job:
                bar.update(round(event.fraction * BAR_STEPS) - bar.pos, event)
                if event.phase != phase and not sys.stderr.isatty():
                    phase = event.phase
                    click.echo(f"{index}: {beside(event)}", err=True)
            nursery.cancel_scope.cancel()
        if job.paused:
            raise JobPaused(f"the rebuild of {index!r} is paused: run it again with --resume")
        outcome = job.outcome
        bar.update(BAR_STEPS - bar.pos)
    return outcome


async def _pause_at_interrupt(job: Job) -> None:
    with trio.open_signal_receiver(signal.SIGINT) as interrupts:
        async for _ in interrupts:
            await job.pause()


def beside(event: Event | None) -> str | None:
    """What stands beside the bar."""
    if event is None:
        return None
    rounds = f"round {event.round} of {event.rounds}, " if event.rounds else ""
    rate = f", {event.rows_per_s:,.0f} rows/s" if event.rows_per_s else ""
    lag = f", lag {event.lag} ({event.lag_slope:+,.0f} rows/s)" if event.lag else ""
    left = f", {event.eta_s:.0f} s to go" if event.eta_s else ""
    return f"{event.phase}, {rounds}{event.rows} of {event.rows_total} rows{rate}{lag}{left}"


@click.command()
@database_argument
@click.argument("index")
@json_option
def rollback(file: Path, index: str, as_json: bool) -> None:
    """Bring back the generation of an INDEX that was replaced last."""

    async def work(database: Database) -> Record:
        return asdict(await (await database.index(index)).rollback())

    show(with_database(file, work, read_only=False), as_json=as_json)


@click.command()
@database_argument
@click.argument("index")
@click.option("--partitions", type=int, help="Only so many, the worst; by default all that are.")
@click.option("--parallel", type=int, help="Worker threads; by default all cores but one.")
@json_option
def reorganize(file: Path, index: str, as_json: bool, **options: Any) -> None:
    """Split overgrown partitions of an INDEX and give starving ones up."""

    async def work(database: Database) -> Record:
        return asdict(await (await database.index(index)).reorganize(**options))

    show(with_database(file, work, read_only=False), as_json=as_json)


@click.command()
@database_argument
@click.argument("index")
@json_option
def abort(file: Path, index: str, as_json: bool) -> None:
    """Drop what a paused or interrupted rebuild of an INDEX has kept."""

    async def work(database: Database) -> Record:
        await (await database.index(index)).abort_rebuild()
        return {"aborted": index}

    show(with_database(file, work, read_only=False), as_json=as_json)


@click.command()
@database_argument
@click.option("--watch", is_flag=True, help="Follow the jobs that run until they have ended.")
@json_option
def jobs(file: Path, watch: bool, as_json: bool) -> None:
    """List the jobs of FILE, newest first, also those of another process."""

    async def work(database: Database) -> list[JobStatus]:
        found = await database.jobs()
        while watch and any(job.state == "running" for job in found):
            follow(found, as_json=as_json)
            await trio.sleep(WATCH_EVERY_S)
            found = await database.jobs()
        return found

    found = with_database(file, work)
    records = [asdict(job) for job in found]
    if not as_json:
        records = [{column: each[column] for column in COLUMNS} for each in records]
    show(records, as_json=as_json)


def follow(found: Sequence[JobStatus], *, as_json: bool) -> None:
    """A line for each job that runs, as it is now."""
    for job in found:
        if job.state == "running":
            line = json.dumps(plain(asdict(job))) if as_json else status_line(job)
            click.echo(line)


def status_line(job: JobStatus) -> str:
    """How far a job is, in a line."""
    rounds = f" round {job.round} of {job.rounds}" if job.rounds else ""
    left = f", {job.eta_s:.0f} s to go" if job.eta_s else ""
    return (
        f"{job.kind} of {job.index}: {job.phase}{rounds}, {job.fraction:.0%}, "
        f"{job.rows_per_s:,.0f} rows/s, lag {job.lag_rows}{left}"
    )
