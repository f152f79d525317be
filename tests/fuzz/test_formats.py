"""The workload that migrates: its file is of the format before, and of a later one afterwards."""

import sqlite3
from pathlib import Path

from centroidb.wal import schema
from fuzz import formats, victim
from fuzz.oracle import look, recover, settled
from fuzz.workloads import workload


def format_of(folder: Path) -> int:
    """The format that the victim's file says it has."""
    connection = sqlite3.connect(folder / victim.FILE)
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    connection.close()
    return int(version)


def test_a_workload_migrates_its_file(tmp_path: Path) -> None:
    """It is prepared in this format, and its life brings it to the later one."""
    made = workload("migrate", 1)
    with formats.world(made):
        victim.prepare(made, tmp_path)
        assert format_of(tmp_path) == formats.FORMAT
        victim.live(made, tmp_path, lambda _: None)
        assert format_of(tmp_path) == formats.FORMAT + 1
        (steps,) = made.sessions[0]
        found = look(tmp_path)
        assert found == settled(settled({}, made.before), steps)
        recover(tmp_path, found, again=True)
    assert schema.FORMAT == formats.FORMAT
