"""Power loss: what a workload does to its files is recorded, and then lost at every moment.

record    the victim runs; each file operation and each word of it go into one trace
replay    after every operation: what may the disk hold? -> images, each different
judge     SQLite's recovery and all rows, of every image
recover   the product's own recovery, of a part of them; of a part of these once more,
          with builds taken up, and with the power lost during the recovery
"""

import random
from collections.abc import Iterator
from pathlib import Path

import trio

from centroidb import open_db
from centroidb.wal.torn import MAGIC
from tests.support.databases import SMALL

from . import formats, native, trace, victim
from .case import Campaign, Result, scratch
from .disk import FATES, Disk, Fate, Image, Medium, read_image, write_image
from .oracle import Bad, Expected, look, recover
from .steps import State
from .trace import Operation
from .workloads import NAMES, Workload, workload

IMAGES = 1_750
"""Of one case, unless its operations leave fewer."""
RECOVERED_ONE_IN = 9
RESUMED_ONE_IN = 4
"""Of those that are recovered."""
INTERRUPTED_ONE_IN = 150
"""Of the images: their recovery is recorded and interrupted too."""
INTERRUPTIONS = 12


def run(text: str) -> Result:
    """`<workload> <seed>`."""
    name, seed = text.split()
    made = workload(name, int(seed))
    with scratch() as folder, formats.world(made):
        before, operations = record(made, folder)
        return Replay(made, before, operations, folder, text).run()


def record(made: Workload, folder: Path) -> tuple[Image, list[Operation]]:
    """Run it; what was there before, and what was done."""
    return prepared(made, folder), lived(made, folder)


def prepared(made: Workload, folder: Path) -> Image:
    """What is there before."""
    home = folder / "victim"
    home.mkdir()
    victim.prepare(made, home)
    return read_image(home)


def lived(made: Workload, folder: Path) -> list[Operation]:
    """What is done to it."""
    with native.watched(folder / "victim", folder / "trace"):
        victim.live(made, folder / "victim", native.mark)
    return trace.read(folder / "trace")


class Replay:
    """The images of one trace, and what is made of them."""

    def __init__(
        self,
        made: Workload,
        before: Image,
        operations: list[Operation],
        folder: Path,
        text: str,
        medium: Medium | None = None,
    ) -> None:
        self.operations = operations
        self.result = Result()
        self._expected = Expected(made)
        self._disk = Disk(before, medium)
        self._folder = folder / "image"
        self._chance = random.Random(text)
        self._text = text

    def run(self) -> Result:
        """About `IMAGES` of them; every round draws other operations to lose the power after."""
        for image, where in self.images(most=IMAGES):
            self._one(image, where)
        return self.result

    def finds_something(self, *, since: int = 0, recovers: bool = True) -> bool:
        """Whether an image is bad; the first one ends it.

        since: the first operation after which the power is lost. recovers: whether the product's
        own recovery is tried too.
        """
        for image, where in self.images(since):
            if recovers:
                self._one(image, where)
            else:
                self._look_at(image, where)
            if self.result.found:
                return True
        return False

    def _look_at(self, image: Image, where: str) -> None:
        try:
            self._judge(image)
        except Bad as bad:
            self.result.found.append(f"{where}: {bad!r}")

    def images(self, since: int = 0, most: int | None = None) -> Iterator[tuple[Image, str]]:
        """The different images after the operations from `since` on, each with its place.

        most: about so many, after some of the operations.
        """
        seen: set[int] = set()
        tried = 0
        for number, operation in enumerate(self.operations):
            if operation.kind == "m":
                self._expected.hear(operation.data.decode())
            else:
                self._disk.apply(operation)
            left = len(self.operations) - number
            share = 1.0 if most is None else share_of(left, most - len(seen), len(seen), tried)
            chosen = number >= since and self._chance.random() < share
            tried += chosen
            for fate in FATES if chosen else ():
                image = self._disk.image(fate, self._chance)
                mark = hash(tuple(sorted(image.items())))
                if mark not in seen:
                    seen.add(mark)
                    yield image, f"after operation {number}, {fate}"

    def _one(self, image: Image, where: str) -> None:
        self.result.tried["power-loss images"] += 1
        try:
            found = self._judge(image)
            if self._chance.randrange(RECOVERED_ONE_IN) == 0 or first_page_torn(image):
                self.result.tried["recovered in full"] += 1
                write_image(image, self._folder)
                again = self._chance.randrange(RESUMED_ONE_IN) == 0
                recover(self._folder, found, again=again)
            if self._chance.randrange(INTERRUPTED_ONE_IN) == 0:
                self._interrupt(image)
        except Exception as error:  # noqa: BLE001 - whatever the product says about a power loss is a defect
            self.result.found.append(f"{where}: {error!r}")

    def _judge(self, image: Image) -> State:
        """What SQLite finds in it."""
        write_image(image, self._folder)
        found = look(self._folder)
        if found is not None:
            self._expected.judge(found)
        elif not self._expected.may_be_missing:
            raise Bad("the file is gone")
        return found or {}

    def _interrupt(self, image: Image) -> None:
        """Lose the power during the recovery."""
        write_image(image, self._folder)
        if look(self._folder) is None:
            return
        write_image(image, self._folder)
        path = self._folder.parent / "recovery"
        with native.watched(self._folder, path):
            trio.run(_open_and_close, self._folder / victim.FILE)
        operations = [each for each in trace.read(path) if each.kind != "m"]
        for _ in range(INTERRUPTIONS):
            self.result.tried["crashes during recovery"] += 1
            disk = Disk(image)
            for operation in operations[: self._chance.randrange(len(operations) + 1)]:
                disk.apply(operation)
            fate: Fate = self._chance.choice(FATES)
            self._judge(disk.image(fate, self._chance))


def share_of(operations: int, wanted: int, had: int, tried: int) -> float:
    """The share of these operations that leaves so many images, as `tried` ones have left `had`."""
    an_operation = had / tried if tried else len(FATES)
    return wanted / (operations * max(an_operation, 1.0))


def first_page_torn(image: Image) -> bool:
    """Whether the file does not even look like one of SQLite's; the product reads that itself."""
    return not image.get(victim.FILE, MAGIC).startswith(MAGIC)


async def _open_and_close(path: Path) -> None:
    async with open_db(path, limits=SMALL, on_open="keep"):
        pass


def cases(number: int) -> Iterator[str]:
    """Each workload once a round."""
    yield from (f"{name} {number}" for name in NAMES)


CAMPAIGN = Campaign(
    "powerloss",
    cases,
    run,
    {"power-loss images": 20_000, "recovered in full": 2_000, "crashes during recovery": 1_000},
    watches=True,
)
