"""Another system under the drift, in a process of its own: as CentroiDB, but in threads.

    python -m tests.bench.rebuild.beside NAME DRIFT.npz IDLE_SECONDS

prints the figures as JSON on its last line.

fill, index -> delete, insert -> searches -> load alone -> load beside the rebuild
                                                        -> its rows deleted -> searches
"""

import json
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count, cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.bench.data import DIM
from tests.bench.latency import Latencies
from tests.bench.peers import lance, pgvector, zvec
from tests.bench.peers.peer import Peer
from tests.bench.rebuild import rows
from tests.bench.rebuild.accuracy import NPROBE
from tests.bench.rebuild.rows import LOAD_KEY, Drift
from tests.bench.sweep import Exam

PEERS: dict[str, Callable[[Path, int], Peer]] = {
    "pgvector": pgvector.make,
    "LanceDB": lance.Lance,
    "zvec": zvec.Zvec,
}


def measure(peer: Peer, drift: Drift, idle_s: float) -> dict[str, Any]:
    """The whole drift."""
    peer.fill(np.arange(len(drift.base)), drift.base)
    peer.index(round(len(drift.base) ** 0.5))
    peer.delete(drift.deleted)
    peer.fill(drift.inserted_keys, drift.inserted)
    exam = Exam.of(*drift.live(), drift.queries)
    before = searched(peer, exam)
    load = Load(peer, drift)
    alone, _ = load.beside(lambda: Event().wait(idle_s))
    during, seconds = load.beside(peer.rebuild)
    peer.delete(np.arange(LOAD_KEY, next(load.keys)))
    return {
        "seconds": seconds,
        "before": before,
        "after": searched(peer, exam),
        "idle": alone,
        "during": during,
    }


def searched(peer: Peer, exam: Exam) -> dict[str, float]:
    """Mean recall, and latencies."""
    latencies, recalls = Latencies(), []
    for number, query in enumerate(exam.queries):
        with latencies.timed():
            found = peer.search(query, NPROBE)
        recalls.append(exam.recall(number, found))
    return {"recall": float(np.mean(recalls)), **latencies.summary()}


class Load:
    """One thread that inserts single rows, one that searches."""

    def __init__(self, peer: Peer, drift: Drift) -> None:
        self._peer = peer
        self._drift = drift
        self.keys = count(LOAD_KEY)
        self._vectors: Iterator[NDArray[np.float32]] = cycle(drift.load)

    def beside(self, work: Callable[[], object]) -> tuple[dict[str, Any], float]:
        """Both without a pause until the work is done; the latencies, and the work's seconds."""
        commits, searches, done = Latencies(), Latencies(), Event()
        with ThreadPoolExecutor() as pool:
            threads = [
                pool.submit(self._write, commits, done),
                pool.submit(self._read, searches, done),
            ]
            start_s = perf_counter()
            try:
                work()
            finally:
                done.set()
            seconds = perf_counter() - start_s
            for thread in threads:
                thread.result()
        return {"commit": commits.summary(), "search": searches.summary()}, seconds

    def _write(self, latencies: Latencies, done: Event) -> None:
        session = self._peer.session()
        while not done.is_set():
            key, vector = next(self.keys), next(self._vectors)
            with latencies.timed():
                session.insert(key, vector)

    def _read(self, latencies: Latencies, done: Event) -> None:
        session = self._peer.session()
        for query in cycle(self._drift.queries):
            if done.is_set():
                return
            with latencies.timed():
                session.search(query, NPROBE)


def main() -> None:
    """Measure the peer in a folder directly under the system's temporary one, and print."""
    name, file, idle_s = sys.argv[1:]
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        peer = PEERS[name](Path(folder), DIM)
        result = measure(peer, rows.read(Path(file)), float(idle_s))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
