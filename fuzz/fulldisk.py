"""A disk that is really full: a small file system in memory, with a little more room each time.

    room 0 .......... the first write does not fit
    room 16 KiB ..... nor does the next file operation
    room enough ..... the workload comes to its end

Whoever calls gets a typed error; afterwards, on a disk with room, all that was acknowledged is
there. It needs the right to mount; without it nothing is tried, and the table says so.
"""

import random
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from . import victim
from .case import Campaign, Result, scratch
from .child import ENDED, Death, run_child
from .oracle import Bad, judged, recover
from .workloads import SMALL_NAMES, Workload, workload

STEP_BYTES = 16_384
"""A page."""
ROOM_MAX_BYTES = 4 << 20
BEGUN_BYTES = 64 << 10
"""What SQLite makes beside the file, and the file system takes for itself, before any write."""
RECOVERED_ONE_IN = 3


class MountRefused(Exception):
    """This process may not mount."""


def run(text: str) -> Result:
    """`<workload> <seed>`."""
    name, seed = text.split()
    made, chance, result = workload(name, int(seed)), random.Random(text), Result()
    with scratch() as folder:
        before = folder / "before"
        before.mkdir()
        victim.prepare(made, before)
        try:
            for room_bytes in range(0, ROOM_MAX_BYTES, STEP_BYTES):
                again = chance.randrange(RECOVERED_ONE_IN) == 0
                if _one(made, folder, room_bytes, result, again=again):
                    return result
        except MountRefused:
            result.tried["file systems that could not be mounted"] += 1
            return result
    result.found.append(f"it does not end with {ROOM_MAX_BYTES} bytes of room")
    return result


def _one(made: Workload, folder: Path, room_bytes: int, result: Result, *, again: bool) -> bool:
    """Whether it came to its end on a disk with so much room."""
    after = folder / "after"
    shutil.rmtree(after, ignore_errors=True)
    taken = sum(path.stat().st_size for path in (folder / "before").iterdir())
    with small_disk(folder / "disk", taken + BEGUN_BYTES + room_bytes) as home:
        shutil.copytree(folder / "before", home, dirs_exist_ok=True)
        death = run_child(made, home, nullcontext(), tolerant=True)
        shutil.copytree(home, after)
    result.tried["full disks"] += 1
    try:
        _judge(made, after, death, again=again)
    except Exception as found:  # noqa: BLE001 - whatever is said about a full disk is a defect
        result.found.append(f"{room_bytes} bytes of room: {found!r}")
    return "end" in death.said


def _judge(made: Workload, after: Path, death: Death, *, again: bool) -> None:
    if death.status != ENDED:
        raise Bad(f"the process ended with {death.status}: {death.said[-1:]}")
    found = judged(made, after, death.said)
    if found is not None:
        recover(after, found, again=again)


@contextmanager
def small_disk(folder: Path, nbytes: int) -> Iterator[Path]:
    """A file system of this size; MountRefused."""
    folder.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={nbytes}", "tmpfs", str(folder)]
    try:
        subprocess.run(command, capture_output=True, check=True)
    except (subprocess.CalledProcessError, FileNotFoundError) as error:
        raise MountRefused from error
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def cases(number: int) -> Iterator[str]:
    """Each small workload once a round."""
    yield from (f"{name} {number}" for name in SMALL_NAMES)


CAMPAIGN = Campaign("fulldisk", cases, run, watches=True)
