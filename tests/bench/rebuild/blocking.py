"""The blocking reference: faiss IVFFlat made anew of the same rows, by one thread and by two.

    python -m tests.bench.rebuild.blocking DRIFT.npz

Prints seconds by number of threads as JSON.  It runs apart so that its threads do not mix with
the database's.
"""

import json
import sys
from pathlib import Path

from tests.bench.peers.faiss import build
from tests.bench.rebuild import rows

THREADS = (1, 2)
SEED = 1


def main(file: Path) -> None:
    """Measure and print."""
    _, vectors = rows.read(file).live()
    nlist = round(len(vectors) ** 0.5)
    seconds = {threads: build(vectors, nlist, seed=SEED, threads=threads)[1] for threads in THREADS}
    print(json.dumps(seconds))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
