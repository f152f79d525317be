"""One life of a simulated database: opened, used, and ended by a close, a fault or a power loss.

The seed draws what happens to it: an operation on a file fails, steps are cancelled, the whole
session is, or the power is lost while some piece of work is done.
"""

import errno
import json
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import trio

from centroidb import Database, open_db
from centroidb.engine.db.errors import ActorDied, CentroiDBError, InputError, RetryError
from centroidb.wal.blocking import substitute
from tests.model.seam import PAUSES
from tests.support.databases import SMALL

from .. import native, trace
from ..disk import FATES, Disk, Fate, Image, read_image
from ..oracle import Bad
from ..steps import State, Step
from ..trace import Operation
from ..victim import FILE, failure
from .belief import Belief
from .program import Ask
from .world import World

HANGS_AFTER_S = 100_000.0
DURATIONS_S = (0.0, 0.0, 0.001, 0.004, 0.02, 0.02, 0.5, 7.0)
"""How long a piece of work takes, by the clock of the world."""
CALLS_MAX = 160
"""About as many pieces of work as a life has: a moment is drawn among them."""
OPERATIONS_MAX = 400
KINDS = ("w", "s", "t", "R", native.CHANGES)
ERRORS = (errno.EIO, errno.EIO, errno.ENOSPC)
CRASH, AFTER = "crash", "after"


class _Steps(trio.abc.Instrument):
    """Notes every decision of the scheduler."""

    def __init__(self, history: list[Any], world: World) -> None:
        self._history = history
        self._world = world

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """A task has its turn."""
        self._history.append((task.name, self._world.now_s()))


class Life:
    """See the module."""

    def __init__(
        self, world: World, folder: Path, image: Image, state: State, tasks: list[list[Step]]
    ) -> None:
        self.history: list[Any] = []
        """Every turn of a task, every word, every file operation."""
        self.ended: Counter[str] = Counter()
        """How many steps ended in which way, by the word for it."""
        self.cancelled = 0
        self.crashed = False
        self.faulty = False
        """Whether a file operation was made to fail."""
        self._world = world
        self._home = folder / "home"
        self._trace = folder / "trace"
        self._before = image
        self._tasks = tasks
        self._state = state
        self._belief = Belief(state, tasks)
        self._calls = 0
        self._everything = trio.CancelScope()
        chance = world.chance
        self._crash_at = chance.randrange(CALLS_MAX) if chance.random() < 0.6 else None
        self._leave_at = chance.randrange(CALLS_MAX) if chance.random() < 0.15 else None
        self._cancel_at = [chance.randrange(CALLS_MAX) for _ in range(chance.choice((0, 0, 1, 3)))]
        self._steps: dict[int, trio.CancelScope] = {}
        """The scopes of the steps that run, by task."""

    def live(self) -> tuple[Image, Belief]:
        """Live it; the files as it leaves them, and what may be in them."""
        with (
            native.watched(self._home, self._trace),
            self._fault(),
            substitute(self._seam),
        ):
            steps = _Steps(self.history, self._world)
            try:
                trio.run(self._main, clock=self._world.clock, instruments=[steps])
            finally:
                self.faulty = native.failed() > 0
        operations = trace.read(self._trace)
        self.history += operations
        if self.crashed:
            return self._lost(operations)
        return read_image(self._home), self._belief

    def _fault(self) -> AbstractContextManager[None]:
        chance = self._world.chance
        if chance.random() < 0.6:
            return nullcontext()
        at, error = chance.randrange(OPERATIONS_MAX), chance.choice(ERRORS)
        for_good = chance.random() < 0.3
        return native.fault(chance.choice(KINDS), at, error, for_good=for_good)

    async def _seam(self, work: Callable[[], Any]) -> Any:
        """A piece of work, and what happens at that moment."""
        await trio.lowlevel.checkpoint()
        await self._pause()
        self._world.clock.jump(self._world.pauses.choice(DURATIONS_S))
        self._calls += 1
        if self._calls in self._cancel_at:
            self._cancel_a_step()
        if self._calls == self._leave_at:
            self._everything.cancel()
        crash = self._calls == self._crash_at
        if crash:
            self._say(CRASH)
        try:
            return work()
        finally:
            if crash:
                self._say(AFTER)
                self.crashed = True
                self._everything.cancel()
            await self._pause()

    async def _pause(self) -> None:
        if not self.crashed:
            for _ in range(self._world.pauses.choice(PAUSES)):
                await trio.lowlevel.cancel_shielded_checkpoint()

    def _cancel_a_step(self) -> None:
        if self._steps:
            self._world.chance.choice(list(self._steps.values())).cancel()
            self.cancelled += 1

    async def _main(self) -> None:
        with trio.fail_after(HANGS_AFTER_S), self._everything:
            try:
                async with (
                    open_db(
                        self._home / FILE,
                        limits=SMALL,
                        on_open=self._world.chance.choice(("resume", "keep", "drop")),
                        cache_bytes=self._world.chance.choice((0, 1 << 20)),
                    ) as database,
                    trio.open_nursery() as nursery,
                ):
                    for task, steps in enumerate(self._tasks):
                        nursery.start_soon(partial(self._task, database, task, steps))
            except CentroiDBError as error:
                self._may_be(error)

    async def _task(self, database: Database, task: int, steps: list[Step]) -> None:
        for number, step in enumerate(steps):
            self._say(f"s {task} {number}")
            with trio.CancelScope() as scope:
                self._steps[task] = scope
                try:
                    word = await self._step(database, task, step)
                finally:
                    del self._steps[task]
            word, _, how = ("u" if scope.cancelled_caught else word).partition(" ")
            self._say(f"{word} {task} {number} {how}".rstrip())
            self.ended[word] += 1
            if word == "f":
                return

    async def _step(self, database: Database, task: int, step: Step) -> str:
        """The word for how it ended."""
        try:
            if isinstance(step, Ask):
                await step.ask(database, partial(self._saw, task), self._answered)
            else:
                await step.do(database)
        except InputError as error:
            if task < len(self._tasks) - 1 and "table t" in self._state:
                raise Bad(f"a writer was refused: {error!r}") from error
            return "r"
        except CentroiDBError as error:
            self._may_be(error)
            return f"f {failure(error)}"
        return "a"

    def _may_be(self, error: CentroiDBError) -> None:
        """Bad for an error that nobody has caused."""
        caused = native.failed() > 0 or self._everything.cancel_called
        if isinstance(error, ActorDied) or not (caused or isinstance(error, RetryError)):
            raise Bad(f"for no reason: {error!r}") from error

    def _saw(self, task: int, table: str, rows: dict[str, int]) -> None:
        self._say(f"v {task} {table} {json.dumps(rows)}")

    def _answered(self, text: str) -> None:
        self.history.append(text)

    def _say(self, word: str) -> None:
        native.mark(word)
        if word not in (CRASH, AFTER) and not self.crashed:
            self._belief.hear(word)

    def _lost(self, operations: list[Operation]) -> tuple[Image, Belief]:
        """What the disk may hold, some operations into the work during which the power is lost."""
        words = [each.data.decode() if each.kind == "m" else "" for each in operations]
        cut = self._world.chance.randint(words.index(CRASH), words.index(AFTER))
        disk, belief = Disk(self._before), Belief(self._state, self._tasks)
        for operation, word in zip(operations[:cut], words, strict=False):
            if operation.kind != "m":
                disk.apply(operation)
            elif word not in (CRASH, AFTER):
                belief.hear(word)
        fate: Fate = self._world.chance.choice(FATES)
        return disk.image(fate, self._world.chance), belief
