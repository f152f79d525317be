"""A peer, measured: single calls, then so many threads at once."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count, cycle
from math import ceil, isnan
from pathlib import Path
from threading import Barrier
from time import perf_counter
from typing import Any

import numpy as np

from tests.bench.latency import Latencies
from tests.bench.memory import folder_bytes, memory_bytes
from tests.bench.peers.peer import Peer
from tests.bench.recall import Point, at_recall
from tests.bench.sets import nlist
from tests.bench.sweep import Exam

CLIENTS = (1, 8, 64)
ENOUGH = 0.995
"""A sweep ends there."""
WARM_UP = 100
START_LIMIT_S = 60.0
"""Until all threads have their sessions."""
Call = Callable[[Peer], object]


class Threads:
    """The peer that was built last, and what searches are judged by."""

    def __init__(
        self, exam: Exam, make: Callable[[Path, int], Peer], efforts: Sequence[int]
    ) -> None:
        self._exam = exam
        self._make = make
        self._efforts = efforts
        self._dim = exam.queries.shape[1]
        self._folder = Path()
        self._peer: Peer | None = None

    def build(self, folder: Path) -> dict[str, Any]:
        """In the place of the last."""
        self.close()
        peer = self._make(folder, self._dim)
        start_s = perf_counter()
        peer.fill(self._exam.keys, self._exam.vectors)
        loaded_s = perf_counter()
        build_s = peer.index(nlist(self._exam))
        ended_s = perf_counter()
        self._folder, self._peer = folder, peer
        took_s = ended_s - loaded_s if build_s is None else build_s
        return {"load_s": loaded_s - start_s, "build_s": took_s}

    def search(self, recall: float, seconds: float) -> dict[str, Any]:
        """One client by effort, then more at the effort that reaches the recall."""
        assert self._peer is not None
        points = self._sweep(self._peer)
        effort = effort_at(points, recall)
        queries = cycle(self._exam.queries)
        rates = {
            number: together(self._peer, number, seconds, lambda s: s.search(next(queries), effort))
            for number in CLIENTS
        }
        return {"points": points, "effort": effort, "clients": rates}

    def _sweep(self, peer: Peer) -> list[Point]:
        for query in self._exam.queries[:WARM_UP]:
            peer.search(query, self._efforts[-1])
        points: list[Point] = []
        for effort in self._efforts:
            points.append(self._point(peer, effort))
            if points[-1]["recall"] >= ENOUGH:
                break
        return points

    def _point(self, peer: Peer, effort: int) -> Point:
        latencies, recalls = Latencies(), []
        for number, query in enumerate(self._exam.queries):
            with latencies.timed():
                found = peer.search(query, effort)
            recalls.append(self._exam.recall(number, found))
        return {"effort": effort, "recall": float(np.mean(recalls)), **latencies.summary()}

    def write(self, folder: Path, number: int, seconds: float) -> dict[str, Any]:
        """Rows of the set under new keys."""
        peer = self._make(folder, self._dim)
        rows = zip(count(), cycle(self._exam.vectors), strict=False)
        result = together(peer, number, seconds, lambda session: session.insert(*next(rows)))
        peer.close()
        return result

    def close(self) -> dict[str, Any]:
        """What an open again needs is in the folder then."""
        if self._peer is not None:
            self._peer.close()
            self._peer = None
        return {"bytes": folder_bytes(self._folder)}

    def reopen(self, folder: Path, effort: int) -> dict[str, Any]:
        """Memory is over that of an empty one, which is measured first, in the same process."""
        empty_folder = folder / "empty"
        empty_folder.mkdir(exist_ok=True)
        empty = self._make(empty_folder, self._dim)
        empty_bytes = memory_bytes([os.getpid(), *empty.processes()])
        empty.close()
        start_s = perf_counter()
        peer = self._make(folder, self._dim)
        peer.search(self._exam.queries[0], effort)
        first_s = perf_counter() - start_s
        for query in self._exam.queries:
            peer.search(query, effort)
        held = memory_bytes([os.getpid(), *peer.processes()])
        peer.close()
        return {"first_s": first_s, "memory_bytes": held - empty_bytes}


def effort_at(points: Sequence[Point], recall: float) -> int:
    """The smallest effort that should reach the recall; the largest tried if none does."""
    effort = at_recall(points, "effort", recall)
    return int(points[-1]["effort"]) if isnan(effort) else ceil(effort)


def together(peer: Peer, number: int, seconds: float, call: Call) -> dict[str, float]:
    """So many threads that call without a pause for some seconds: latencies, and calls a second."""
    latencies, start = Latencies(), Barrier(number + 1)

    def work() -> None:
        session = peer.session()
        start.wait(START_LIMIT_S)
        until_s = perf_counter() + seconds
        while perf_counter() < until_s:
            with latencies.timed():
                call(session)
        if session is not peer:
            session.close()

    with ThreadPoolExecutor(number) as pool:
        threads = [pool.submit(work) for _ in range(number)]
        start.wait(START_LIMIT_S)
        start_s = perf_counter()
    for thread in threads:
        thread.result()
    summary = latencies.summary()
    return {**summary, "per_s": summary["calls"] / (perf_counter() - start_s)}
