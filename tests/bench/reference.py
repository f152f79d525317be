"""The reference: faiss IVFFlat on the same rows, three seeds, in a process of its own.

    python -m tests.bench.reference FILE.json

Its recall and rows read at each nprobe are what the database is compared with.  It runs apart so
that its memory and its threads do not count as the database's.
"""

import json
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.bench import data
from tests.bench.latency import Latencies
from tests.bench.recall import NLIST, NPROBES, SEEDS, K, mean_sweep, recall


def main(path: Path) -> None:
    """Measure and write the means over the seeds."""
    corpus = data.load()
    _, distances = data.ground_truth(corpus.vectors, corpus.queries, K)
    runs = [measure(corpus, distances[:, -1].tolist(), seed) for seed in SEEDS]
    result = {
        "build_s": float(np.mean([run["build_s"] for run in runs])),
        "sweep": mean_sweep([run["sweep"] for run in runs]),
    }
    path.write_text(json.dumps(result, indent=1), encoding="utf-8")


def measure(corpus: data.Corpus, kth_distances: list[float], seed: int) -> dict[str, Any]:
    """One index: seconds to build it, and its cost at each nprobe."""
    index, build_s = build(corpus.vectors, NLIST, seed=seed, threads=1)
    sweep = [sweep_point(index, corpus, kth_distances, nprobe) for nprobe in NPROBES]
    return {"build_s": build_s, "sweep": sweep}


def build(
    vectors: NDArray[np.float32], nlist: int, *, seed: int, threads: int
) -> tuple[Any, float]:
    """An IVFFlat index, trained and filled, and the seconds that took."""
    import faiss

    faiss.omp_set_num_threads(threads)
    index: Any = faiss.index_factory(vectors.shape[1], f"IVF{nlist},Flat")
    index.cp.seed = seed
    start_s = perf_counter()
    index.train(vectors)
    index.add(vectors)
    return index, perf_counter() - start_s


def sweep_point(
    index: Any, corpus: data.Corpus, kth_distances: list[float], nprobe: int
) -> dict[str, float]:
    """Mean recall and rows read, and the median time, of single searches at one nprobe."""
    index.nprobe = nprobe
    sizes = np.array([index.invlists.list_size(number) for number in range(NLIST)])
    _, probed = index.quantizer.search(corpus.queries, nprobe)
    latencies, recalls = Latencies(), []
    for query, kth_distance in zip(corpus.queries, kth_distances, strict=True):
        with latencies.timed():
            _, found = index.search(query[None, :], K)
        recalls.append(recall(query, corpus.vectors[found[0]], kth_distance))
    return {
        "nprobe": nprobe,
        "recall": float(np.mean(recalls)),
        "rows_read": float(sizes[probed].sum(axis=1).mean()),
        **latencies.summary(),
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
