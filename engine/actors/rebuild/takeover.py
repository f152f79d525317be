"""The end of a rebuild, and of a rollback: proven to be whole, then swapped in.

    catch up | sum up what is stored | catch up | verify | swap
             |  others go on writing            |  short |

Writers are never held for the proof; the catch-up before the swap may slow them.
"""

from functools import partial

from ...index.generation import Generation
from ...index.health import imbalance
from ...index.parameters import IndexParameters
from ...storage.indexes import IndexState
from ..committer import Committer
from ..state import State
from .catch_up import CatchUp
from .outcome import Outcome
from .proof import Stored, sum_stored, verify_rows
from .record import JobRecord
from .swap import Swap, Swapped


class Takeover:
    """Private to the job that makes `generation` ready."""

    def __init__(
        self,
        state: State,
        committer: Committer,
        index: IndexState,
        generation: Generation,
        catch_up: CatchUp,
        record: JobRecord,
    ) -> None:
        self._state = state
        self._committer = committer
        self._index = index
        self._generation = generation
        self._catch_up = catch_up
        self._record = record
        self.swapped = False
        """Whether the generation has taken over: there is no way back then."""

    async def run(self, parameters: IndexParameters) -> Outcome:
        """Swap the generation in; the index is then what `parameters` say.

        Raises RebuildRejected when it does not list exactly the rows of the table.
        """
        old = self._index.active
        before = imbalance(old.partition_sizes()) if old is not None else None
        while not await self._attempt(parameters):
            pass
        self._record.tell("swap", 1, 1)
        return self._outcome(before)

    def _outcome(self, imbalance_before: float | None) -> Outcome:
        generation, catch_up = self._generation, self._catch_up
        return Outcome(
            index=self._index.row.name,
            generation=generation.row.id,
            nlist=generation.row.nlist,
            rows=generation.row.rows_at_build,
            rows_caught_up=catch_up.rows,
            seconds=self._record.latest.elapsed_s,
            writers_held_s=catch_up.held_s,
            imbalance_before=imbalance_before,
            imbalance_after=imbalance(generation.partition_sizes()),
        )

    async def _attempt(self, parameters: IndexParameters) -> bool:
        """Prove and swap; False if a compaction came between: it moves rows to newer segments.

        Nobody folds or compacts the one generation or the other during the swap.
        """
        generation, maintenance = self._generation, self._state.maintenance
        await self._catch_up.run()
        await self._record.report("verify", 0, 1)
        async with maintenance:
            version, stored = generation.version, await self._sum_stored()
        await self._catch_up.run()
        self._record.held(self._catch_up.held_s)
        await self._record.report("swap", 0, 1)
        async with maintenance:
            if version != generation.version:
                return False
            await self._verify(stored)
            await self._swap(parameters)
        return True

    async def _swap(self, parameters: IndexParameters) -> None:
        position = self._catch_up.position
        job = self._record.row("done")
        swap = Swap(self._state, self._index, self._generation, position, parameters, job)

        def finish(done: Swapped) -> None:
            swap.finish(done)
            self.swapped = True

        await self._committer.do(swap.start, finish)

    async def _sum_stored(self) -> Stored:
        position = self._catch_up.position
        visibility = self._state.visibility(position.table, position.lsn)
        work = partial(
            sum_stored, generation=self._generation, position=position, visibility=visibility
        )
        async with self._state.build_workers:
            return await self._state.pool.read(work)

    async def _verify(self, stored: Stored) -> None:
        position = self._catch_up.position
        visibility = self._state.visibility(position.table, position.lsn)
        work = partial(
            verify_rows,
            generation=self._generation,
            stored=stored,
            position=position,
            visibility=visibility,
        )
        async with self._state.build_workers:
            await self._state.pool.read(work)
