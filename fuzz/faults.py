"""Input and output that fails: every file operation of five small workloads, one after the other.

    once        the n-th operation fails, the next ones work again
    for good    so do all later ones

Whoever calls gets a typed error, or nothing happened to them; the process neither hangs nor dies.
Then the disk works again and the file is opened: what was acknowledged is there, and of a call
that failed either nothing or what its outcomes say, an idempotency key with its rows or not at all.
"""

import errno
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from centroidb.wal.blocking import substitute

from . import native, victim
from .case import Campaign, Result, scratch
from .child import ENDED, Death, Fate, run_child
from .inline import inline
from .kills import fresh
from .oracle import Bad, judged, recover
from .workloads import SMALL_NAMES, Workload, workload

KINDS = {
    "writes": (native.CHANGES, (errno.EIO, errno.ENOSPC)),
    "reads": (native.READS + "o", (errno.EIO,)),
}
"""Which operations, and what they may fail with."""
PARTS = 6
"""A workload's operations are shared out among so many cases."""
RECOVERED_ONE_IN = 2
RESUMED_ONE_IN = 2
"""Of those that are recovered."""


def run(text: str) -> Result:
    """`<workload> <writes or reads> <round> <part>`: operations whose number has this remainder."""
    name, kind, number, part = text.split()
    with scratch() as folder:
        return Faults(workload(name, 1), folder, kind, int(number)).run(int(part))


class Faults:
    """One workload whose operations fail, each in turn."""

    def __init__(self, made: Workload, folder: Path, kind: str, number: int) -> None:
        self.result = Result()
        self._made = made
        self._operations, self._errors = KINDS[kind]
        self._round = number
        self._chance = random.Random(f"{kind} {number}")
        self._home = folder / "victim"
        self._before = folder / "before"
        self._before.mkdir()
        victim.prepare(made, self._before)

    def run(self, part: int) -> Result:
        """All operations of a part; one beyond the last is no fault, and ends it."""
        at = part
        while self._one(at):
            at += PARTS
        return self.result

    def _one(self, at: int) -> bool:
        """Whether there was an operation of this number to fail."""
        fresh(self._before, self._home)
        turn, errors = at // PARTS + self._round, self._errors
        error, for_good = errors[turn // 2 % len(errors)], bool(turn % 2)
        fault = native.fault(self._operations, at, error, for_good=for_good)
        death = run_child(self._made, self._home, repeatable(fault), tolerant=True)
        reached = not death.said or not death.said[-1].startswith("unharmed")
        self.result.tried["faults"] += reached
        try:
            if not reached and "end" not in death.said:
                raise Bad(f"it failed although nothing did: {death.said[-2:]}")
            self._judge(death)
        except Exception as found:  # noqa: BLE001 - whatever is said about a fault is a defect
            self.result.found.append(f"operation {at}: {found!r}")
        return reached

    def _judge(self, death: Death) -> None:
        if death.status != ENDED:
            raise Bad(f"the process ended with {death.status}: {death.said[-1:]}")
        found = judged(self._made, self._home, death.said)
        if found is not None and self._chance.randrange(RECOVERED_ONE_IN) == 0:
            self.result.tried["of these recovered in full"] += 1
            again = self._chance.randrange(RESUMED_ONE_IN) == 0
            recover(self._home, found, again=again)


@contextmanager
def repeatable(fault: Fate) -> Iterator[None]:
    """Without threads, so that no two operations can change places."""
    with fault, substitute(inline):
        yield


def cases(number: int) -> Iterator[str]:
    """In every round all operations; how each fails, and for how long, turns with the rounds."""
    for name in SMALL_NAMES:
        for kind in KINDS:
            yield from (f"{name} {kind} {number} {part}" for part in range(PARTS))


CAMPAIGN = Campaign("faults", cases, run, {"faults": 1_000}, watches=True)
