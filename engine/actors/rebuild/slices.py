"""What a build has made durable, step by step, so that it can go on after a crash.

    round        0                   where k-means stands after a round
    centroids    round, part         the centroids then, in parts
    assign       window              partition of each row of some blocks, and their distances
    reassign     window              the same, after small partitions were given up

What is here is never needed for an answer: it only saves work that would come
out the same, since every step is a pure function of S0, parameters and seed.
"""

import json
import sqlite3
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ....wal import slices
from ....wal.pool import ReaderPool
from ....wal.segments import centroid_parts
from ....wal.types import GenerationId
from ...index import kmeans
from ...storage.folding import Writer

PARTS = 1 << 20
"""Parts of the centroids of one round, at most."""


class BuildSlices:
    """The slices of one generation."""

    def __init__(self, pool: ReaderPool, writer: Writer, generation: GenerationId) -> None:
        self._pool = pool
        self._writer = writer
        self._generation = generation

    async def last_round(self, dim: int) -> kmeans.State | None:
        """Where k-means stood after the last round that was kept; None before the first."""
        header = await self.read("round", 0)
        if header is None:
            return None
        fields = json.loads(header)
        first = fields["round"] * PARTS
        parts = [await self.read("centroids", first + part) for part in range(fields["parts"])]
        raw = b"".join(part for part in parts if part is not None)
        centroids = np.frombuffer(raw, "<f4").reshape(fields["nlist"], dim)
        return kmeans.State(fields["round"], fields["first"], fields["random"], centroids)

    async def keep_round(self, state: kmeans.State) -> None:
        """Keep where k-means stands; the round before goes in the same transaction."""
        raw = np.ascontiguousarray(state.centroids, "<f4")
        parts = [part for _, part in centroid_parts(raw.tobytes(), 4 * raw.shape[1])]
        first = state.round * PARTS
        header = {
            "round": state.round,
            "first": state.first,
            "random": state.random,
            "nlist": len(raw),
            "parts": len(parts),
        }
        for number, part in enumerate(parts[:-1]):
            await self.keep("centroids", first + number, part)

        def finish(connection: sqlite3.Connection) -> None:
            put = partial(slices.put, connection, self._generation)
            put("centroids", first + len(parts) - 1, parts[-1])
            put("round", 0, json.dumps(header).encode())
            slices.delete(connection, self._generation, "centroids", before=first)

        await self._writer.write(finish)

    async def keep_assigned(
        self, step: str, window: int, centroids: NDArray[np.int32], distances: NDArray[np.float64]
    ) -> None:
        """Keep the partitions int32 (n,) of a window's rows, and a distance for each block."""
        data = distances.astype("<f8").tobytes() + centroids.astype("<i4").tobytes()
        await self.keep(step, window, data)

    async def assigned(
        self, step: str, window: int, blocks: int, rows: int
    ) -> tuple[NDArray[np.int32], NDArray[np.float64]] | None:
        """What `keep_assigned` kept for a window of so many blocks and rows; None if nothing.

        Other limits may have made other windows: what was kept for those is of no use.
        """
        data = await self.read(step, window)
        if data is None or len(data) != 8 * blocks + 4 * rows:
            return None
        distances = np.frombuffer(data, "<f8", count=blocks)
        return np.frombuffer(data, "<i4", offset=8 * blocks).astype(np.int32), distances

    async def has(self, step: str) -> bool:
        """Whether anything was kept of a step."""
        found = await self._pool.read(lambda c: slices.numbers(c, self._generation, step))
        return bool(found)

    async def keep(self, step: str, number: int, data: bytes) -> None:
        """Store one slice."""
        await self._writer.write(
            lambda c: slices.put(c, self._generation, step, number, data),
        )

    async def read(self, step: str, number: int) -> bytes | None:
        """One slice, None when it was not kept."""
        return await self._pool.read(lambda c: slices.read(c, self._generation, step, number))

    async def clear(self) -> None:
        """Remove them all, a few at a time."""
        while not await self._writer.write(lambda c: slices.delete_some(c, self._generation)):
            pass
