"""A job that one process runs, as another one sees it."""

from pathlib import Path

import pytest
import trio
from click.testing import CliRunner

from centroidb import open_db
from centroidb.engine.cli import jobs as commands
from centroidb.engine.cli import main
from tests.support.databases import checked_db

from .children import started
from .roles import make_accounts, rebuild_slowly


def test_a_job_of_another_process_is_watched_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`jobs --watch` tells how far the job is, until its owner pauses it; then all is listed."""
    path = tmp_path / "bank.db"
    trio.run(make_accounts, path)
    with started(rebuild_slowly, str(path)) as (_, pipe):
        assert pipe.recv() == "building"
        follow = commands.follow

        def paused_after(*arguments: object, **options: bool) -> None:
            follow(*arguments, **options)  # type: ignore[arg-type]  # handed on as they came
            pipe.send("pause")
            assert pipe.recv() == "closed"

        monkeypatch.setattr(commands, "follow", paused_after)
        result = CliRunner().invoke(main, ["jobs", str(path), "--watch"])

    line, *table = result.stdout.splitlines()
    assert line.startswith("rebuild of ix: ")
    assert "rows/s, lag 0" in line
    assert "paused" in table[1]


async def test_what_another_process_has_paused_goes_on_here(tmp_path: Path) -> None:
    """A file that nobody owns any more can be opened, and its paused build resumed."""
    path = tmp_path / "bank.db"
    await make_accounts(path)
    with started(rebuild_slowly, str(path)) as (_, pipe):
        assert await trio.to_thread.run_sync(pipe.recv) == "building"
        async with open_db(path, read_only=True) as reader:
            assert (await reader.jobs())[0].state == "running"
        pipe.send("pause")
        assert await trio.to_thread.run_sync(pipe.recv) == "closed"
    async with checked_db(path) as db:
        assert (await db.jobs())[0].state == "paused"
        await (await db.index("ix")).resume_rebuild(throttle=1_000_000)
        assert (await db.jobs())[0].state == "done"
