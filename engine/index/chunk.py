"""A chunk: probes whose rows are bracketed together.

    probes         block A: queries 0 2      block B: queries 0 1      block C: query 2
                        |         |               |         |                |
    products       one matrix product        one matrix product        a product
                        |         |               |         |                |
    tasks          query 0: A B              query 1: B                query 2: A C

Products go block by block, for all queries that look at a block: each row is brought from memory
once.  Everything after them goes task by task, over all the rows that a query looks at: numpy is
called once for thousands of rows.  A task is one query, or all of them where they look at the same
blocks, and has rows of one kind.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .arrays import Doubles, Floats, Indices, Mask
from .block import Block
from .codec import Asked, Rows
from .distance import distances
from .queries import Queries

CHUNK_PAIRS: Final = 1 << 21
"""Pairs of a query and a row in a chunk, and values of the queries quantised for its blocks."""

CHUNK_VALUES: Final = 1 << 24
"""Values of the rows of a chunk: 64 MiB as float32."""

Ends: TypeAlias = NDArray[np.floating]
"""Lower or upper ends of brackets."""

Share: TypeAlias = tuple[Floats, NDArray[np.floating]]
"""A task's kernels (g, d) for a block, and where their products (g, n) go."""


@dataclass(frozen=True, slots=True)
class Probe:
    """A block that queries look at."""

    block: Block
    queries: Indices | None = None
    """positions of these queries in the batch, each once; None for all of them"""


@dataclass(frozen=True, slots=True)
class Task:
    """Queries (g,) and the blocks of the chunk that they look at."""

    queries: Indices
    asked: Asked
    blocks: list[int]
    """their numbers in the chunk"""
    starts: Indices
    """where the rows of each block begin in the task, and where those of the last one end"""
    moves: Indices
    """how much later the rows of each block begin in the chunk"""

    @property
    def rows(self) -> int:
        """Rows of the task."""
        return int(self.starts[-1])

    def places(self, rows: Indices) -> Indices:
        """Positions in the chunk of these rows of the task."""
        places: Indices = rows + self.moves[np.searchsorted(self.starts, rows, side="right") - 1]
        return places

    def pick(self, seen: Mask) -> Mask:
        """Of a mask (m,) over the rows of the chunk, the part for the rows of the task."""
        borders = zip(pairwise(self.starts.tolist()), self.moves.tolist(), strict=True)
        return np.concatenate([seen[start + move : stop + move] for (start, stop), move in borders])


class Chunk:
    """Blocks and the queries that look at them, up to a limit."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries
        self._dims = queries.dims
        self._together: list[int] = []  # numbers of the blocks that all queries look at
        self._apart: defaultdict[int, list[int]] = defaultdict(list)  # those of a query
        self._pairs = 0
        self.blocks: list[Block] = []
        self.starts = [0]
        """where the rows of each block begin, and where those of the last one end"""

    def has_room(self, rows: int, count: int) -> bool:
        """Whether `count` queries may look at so many more rows; one block always fits."""
        pairs = self._pairs + count * (rows + self._dims)
        values = (self.starts[-1] + rows) * self._dims
        return (pairs <= CHUNK_PAIRS and values <= CHUNK_VALUES) or not self.blocks

    def add(self, block: Block, rows: int, queries: Indices | None, count: int) -> None:
        """Let `count` queries, None for all of them, look at a block of so many rows."""
        number = len(self.blocks)
        if queries is None:
            self._together.append(number)
        else:
            for query in queries.tolist():
                self._apart[query].append(number)
        self._pairs += count * (rows + self._dims)
        self.blocks.append(block)
        self.starts.append(self.starts[-1] + rows)

    def tasks(self) -> list[Task]:
        """What is to be done, with all products in place."""
        everyone = np.arange(len(self._queries))
        tasks = self._split(everyone, self._together)
        for query, blocks in self._apart.items():
            tasks += self._split(everyone[query : query + 1], blocks)
        self._multiply(tasks)
        return tasks

    def measure(self, query: Indices, place: Indices) -> tuple[Doubles, Mask | None]:
        """Distances (m,) of rows at ascending places from these queries (m,).

        Also which rows have no vectors in memory, and so no distance; None if all of them have.
        """
        queries, measured = self._queries, np.zeros(len(place))
        vectors = np.empty((len(place), self._dims), np.float32)
        unread = self._gather(place, vectors)
        read = slice(None) if unread is None else ~unread
        measured[read] = distances(queries.metric, queries.vectors[query[read]], vectors[read])
        return measured, unread

    def _gather(self, places: Indices, out: Floats) -> Mask | None:
        starts = np.array(self.starts)
        number = np.searchsorted(starts, places, side="right") - 1
        row = places - starts[number]
        unread = np.zeros(len(places), np.bool_)
        borders = [0, *(np.flatnonzero(np.diff(number)) + 1).tolist(), len(places)]
        for start, stop in pairwise(borders):
            rows = self.blocks[number[start]].vectors
            if rows is None:
                unread[start:stop] = True
            else:
                out[start:stop] = rows[row[start:stop]]
        return unread if unread.any() else None

    def _split(self, queries: Indices, blocks: list[int]) -> list[Task]:
        """The tasks of these queries, one for each kind of rows."""
        kinds: defaultdict[type, list[int]] = defaultdict(list)
        for number in blocks:
            kinds[type(self.blocks[number].sieve)].append(number)
        return [self._task(queries, numbers) for numbers in kinds.values()]

    def _task(self, queries: Indices, blocks: list[int]) -> Task:
        everyone = len(queries) == len(self._queries)
        mine = self._queries if everyone else self._queries.take(queries)
        pieces = [self.blocks[number].sieve for number in blocks]
        starts = np.cumsum([0, *map(len, pieces)])
        moves = np.array([self.starts[number] for number in blocks]) - starts[:-1]
        return Task(queries, type(pieces[0]).ask(pieces, mine), blocks, starts, moves)

    def _multiply(self, tasks: list[Task]) -> None:
        shares: list[list[Share]] = [[] for _ in self.blocks]
        for task in tasks:
            borders = pairwise(task.starts.tolist())
            for index, (number, (start, stop)) in enumerate(zip(task.blocks, borders, strict=True)):
                out = task.asked.products[:, start:stop]
                shares[number].append((task.asked.kernels(index), out))
        for block, parts in zip(self.blocks, shares, strict=True):
            _multiply(block.sieve, parts)


def chunks(probes: Iterable[Probe], queries: Queries) -> Iterator[Chunk]:
    """Put probes together, in order, as far as the limits allow; long blocks are cut."""
    chunk = Chunk(queries)
    for probe in probes:
        wanted = probe.queries
        if wanted is not None and len(wanted) == len(queries):
            wanted = None
        count = len(queries) if wanted is None else len(wanted)
        for block in _pieces(probe.block, count, queries.dims):
            rows = len(block)
            if not chunk.has_room(rows, count):
                yield chunk
                chunk = Chunk(queries)
            chunk.add(block, rows, wanted, count)
    if chunk.blocks:
        yield chunk


def _pieces(block: Block, count: int, dims: int) -> Sequence[Block]:
    """A block, cut so that each piece fits in a chunk; nothing if nobody looks at it."""
    size = len(block)
    if not size or not count:
        return ()
    if count * (size + dims) <= CHUNK_PAIRS and size * dims <= CHUNK_VALUES:
        return (block,)
    rows = max(1, min(CHUNK_PAIRS // count - dims, CHUNK_VALUES // dims))
    return [block.slice(start, start + rows) for start in range(0, size, rows)]


def _multiply(rows: Rows, parts: list[Share]) -> None:
    """Multiply rows with the kernels of all parts at once, and hand the products out."""
    if len(parts) == 1:
        rows.multiply(*parts[0])
        return
    kernels = np.concatenate([each for each, _ in parts])
    products = np.empty((len(kernels), len(rows)), parts[0][1].dtype)
    rows.multiply(kernels, products)
    start = 0
    for each, out in parts:
        out[...] = products[start : start + len(each)]
        start += len(each)
