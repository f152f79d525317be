"""Early: an index made on few rows, and the table grown to many times as many.

    some rows -> index -> the rest, in steps -> sweep -> index.rebuild() -> sweep

With `auto_rebuild="on"` the index is left to itself instead of rebuilt.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from centroidb import Index, Table
from tests.bench.mixture import Mixture
from tests.bench.rebuild.accuracy import measure
from tests.bench.rebuild.automatic import later, rested
from tests.bench.rebuild.drift import INDEX, opened
from tests.bench.recall import Point
from tests.bench.sweep import Exam, sweep_point

STARTS = (200, 1_000, 5_000)
ROWS = 50_000
STEP = 1_000
QUERIES = 200
SEED = 20_250_104
LOOKS = 3
"""How often the Monitor may look, and act, once the table is grown."""


@dataclass(frozen=True)
class Early:
    """The rows, the last of which come late, and what searches are judged by."""

    vectors: NDArray[np.float32]
    exam: Exam

    @classmethod
    def of(cls, scale: float) -> "Early":
        """The later a row, the likelier it is of another distribution."""
        random = np.random.default_rng(SEED)
        mixture = Mixture.of(random)
        first, second = mixture.draw(random, int(ROWS * scale)), mixture.shifted(random)
        late = random.random(len(first)) < np.linspace(0, 1, len(first))
        first[late] = second.draw(random, int(late.sum()))
        queries = np.concatenate(
            [mixture.draw(random, QUERIES // 2), second.draw(random, QUERIES // 2)]
        )
        return cls(first, Exam.of(np.arange(len(first)), first, queries))

    async def manual(self, path: Path, start: int) -> dict[str, Any]:
        """Grown, and rebuilt once."""
        async with opened(path) as (_, table):
            index = await self.grown(table, start, "off")
            before = await figures(table, self.exam)
            outcome = await index.rebuild()
            return {
                "before": before,
                "outcome": asdict(outcome),
                "after": await figures(table, self.exam),
            }

    async def automatic(self, path: Path, start: int) -> dict[str, Any]:
        """Grown, and left to itself."""
        async with opened(path) as (_, table):
            index = await self.grown(table, start, "on")
            for _ in range(LOOKS):
                await later(index)
            return {"after": await figures(table, self.exam)}

    async def grown(self, table: Table, start: int, auto_rebuild: Literal["on", "off"]) -> Index:
        """An index on the first rows, then the others, a commit each thousand."""
        await table.upsert(range(start), self.vectors[:start])
        index = await table.create_index(INDEX, auto_rebuild=auto_rebuild)
        for first in range(start, len(self.vectors), STEP):
            some = self.vectors[first : first + STEP]
            await table.upsert(range(first, first + len(some)), some)
        await rested(index)
        return index

    async def run(self, folder: Path) -> dict[str, Any]:
        """Every start that leaves something to grow."""
        return {
            f"{start:,}": {
                "manual": await self.manual(folder / f"manual-{start}.db", start),
                "automatic": await self.automatic(folder / f"automatic-{start}.db", start),
            }
            for start in STARTS
            if start < len(self.vectors)
        }


async def figures(table: Table, exam: Exam) -> dict[str, Any]:
    """A sweep, and a search as it comes."""
    default: Point = await sweep_point(table, exam, None)
    return {"sweep": await measure(table, exam), "default": default}
