"""Kills: the victim dies before its n-th file operation, at a named point, or at any moment.

Unlike after a power loss the operating system has kept all that was written, so this says less
about the disk and more about the program: every moment of it is tried, with real threads.
"""

import os
import random
import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from . import failpoints, formats, native, victim
from .case import Campaign, Result, scratch
from .child import ENDED, Death, Fate, run_child
from .oracle import Bad, judged, recover
from .workloads import NAMES, Workload, workload

MOMENTS = 2
OPERATIONS = 3
"""Kills of each kind in one case; besides, one at each point that the workload comes to."""
LATE_MAX_S = 0.3
HITS = 3
"""A point kills at one of its first hits, in turn from round to round."""
RESUMED_ONE_IN = 3
POINTS = "points killed at"


def run(text: str) -> Result:
    """`<workload> <seed>`."""
    name, seed = text.split()
    made = workload(name, int(seed))
    with scratch() as folder, formats.world(made):
        return Kills(made, folder, random.Random(text)).run(int(seed))


class Kills:
    """One workload, killed again and again."""

    def __init__(self, made: Workload, folder: Path, chance: random.Random) -> None:
        self.result = Result()
        self._made = made
        self._chance = chance
        self._home = folder / "victim"
        self._before = folder / "before"
        self._before.mkdir()
        victim.prepare(made, self._before)

    def run(self, round_number: int) -> Result:
        """All of them."""
        operations, points = self._measured()
        for _ in range(MOMENTS):
            self._kill("at a moment", nullcontext(), self._chance.uniform(0, LATE_MAX_S))
        for at in self._chance.sample(range(operations), min(OPERATIONS, operations)):
            fate = native.fault(native.CHANGES, at, native.KILL)
            self._kill(f"before operation {at}", fate)
        for point in points:
            hit = 1 + (round_number - 1) % HITS
            if self._kill(f"at {point}, hit {hit}", dying_at(point, hit)):
                self.result.reached.setdefault(POINTS, set()).add(point)
        return self.result

    def _kill(self, how: str, fate: Fate, after_s: float | None = None) -> bool:
        """Whether it died of it; whatever became of it, the file must be right."""
        fresh(self._before, self._home)
        death = run_child(self._made, self._home, fate, kill_after_s=after_s)
        killed = death.status == -signal.SIGKILL
        self.result.tried["kills"] += killed
        try:
            self._judge(death, again=self._chance.randrange(RESUMED_ONE_IN) == 0)
        except Exception as error:  # noqa: BLE001 - whatever is said about a kill is a defect
            self.result.found.append(f"{how}: {error!r}")
        return killed

    def _measured(self) -> tuple[int, list[str]]:
        """How many operations there are, and which points are reached."""
        fresh(self._before, self._home)
        reached: Counter[str] = Counter()
        with (
            failpoints.watched(lambda point: reached.update([point])),
            native.watched(self._home),
            native.counting(native.CHANGES) as counted,
        ):
            victim.live(self._made, self._home, lambda _: None)
            return counted(), sorted(reached)

    def _judge(self, death: Death, *, again: bool) -> None:
        if death.status not in (ENDED, -signal.SIGKILL):
            raise Bad(f"it ended with {death.status}: {death.said[-1:]}")
        found = judged(self._made, self._home, death.said)
        if found is not None:
            recover(self._home, found, again=again)


def fresh(before: Path, home: Path) -> None:
    """The victim's folder as it was before."""
    shutil.rmtree(home, ignore_errors=True)
    shutil.copytree(before, home)


@contextmanager
def dying_at(point: str, hit: int) -> Iterator[None]:
    """The process dies when it comes to this point for the `hit`th time."""
    left = hit

    def reached(name: str) -> None:
        nonlocal left
        left -= name == point
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)

    with failpoints.watched(reached):
        yield


def cases(number: int) -> Iterator[str]:
    """Each workload once a round."""
    yield from (f"{name} {number}" for name in NAMES)


CAMPAIGN = Campaign(
    "kills", cases, run, {"kills": 300, POINTS: len(failpoints.POINTS)}, watches=True
)
