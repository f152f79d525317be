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
from pathlib import Path

from . import native, victim
from .case import Campaign, Result, scratch
from .child import ENDED, run_child
from .kills import fresh
from .oracle import Bad, judged
from .workloads import SMALL_NAMES, Workload, workload

WRITES = "cwtsdur"
KINDS = {
    "EIO": (errno.EIO, WRITES),
    "ENOSPC": (errno.ENOSPC, "cwt"),
    "EIO on read": (errno.EIO, native.READS + "o"),
}
PARTS = 6
"""A workload's operations are shared out among so many cases."""
RECOVERED_ONE_IN = 3


def run(text: str) -> Result:
    """`<workload> <kind of fault> <part>`: every operation whose number has this remainder."""
    name, *words, part = text.split()
    with scratch() as folder:
        return Faults(workload(name, 1), folder, " ".join(words)).run(int(part))


class Faults:
    """One workload whose operations fail, each in turn."""

    def __init__(self, made: Workload, folder: Path, how: str) -> None:
        self.result = Result()
        self._made = made
        self._kind, _, end = how.rpartition(" ")
        self._for_good = end == "forever"
        self._chance = random.Random(how)
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
        error, kinds = KINDS[self._kind]
        fresh(self._before, self._home)
        fault = native.fault(kinds, at, error, for_good=self._for_good)
        death = run_child(self._made, self._home, fault, tolerant=True)
        reached = not death.said or not death.said[-1].startswith("unharmed")
        self.result.tried["faults"] += reached
        try:
            if death.status != ENDED:
                raise Bad(f"the process ended with {death.status}: {death.said[-1:]}")
            again = self._chance.randrange(RECOVERED_ONE_IN) == 0
            judged(self._made, self._home, death.said, again=again)
        except Exception as found:  # noqa: BLE001 - whatever is said about a fault is a defect
            self.result.found.append(f"operation {at}: {found!r}")
        return reached


def cases(number: int) -> Iterator[str]:
    """In every round all operations, once; the kinds of fault take turns with the rounds."""
    hows = [f"{kind} {end}" for kind in KINDS for end in ("once", "forever")]
    for at, name in enumerate(SMALL_NAMES):
        for how in [hows[(at + number) % 4], hows[(at + number + 1) % 4], hows[4 + number % 2]]:
            yield from (f"{name} {how} {part}" for part in range(PARTS))


CAMPAIGN = Campaign("faults", cases, run, {"faults": 1_000})
