"""The other systems of the drift, each in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.bench.systems import PYTHON

PEERS = ("pgvector", "LanceDB", "zvec")
LIMIT_S = 1_800


def faiss(file: Path) -> dict[str, float]:
    """Seconds of a blocking rebuild by number of threads."""
    arguments = [sys.executable, "-m", "tests.bench.rebuild.blocking", str(file)]
    done = subprocess.run(arguments, check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout))


def peers(file: Path, idle_s: float) -> dict[str, dict[str, Any]]:
    """The figures of each peer; {"failed": the reason} where there are none."""
    return {name: peer(name, file, idle_s) for name in PEERS}


def peer(name: str, file: Path, idle_s: float) -> dict[str, Any]:
    """One of them."""
    if not PYTHON.exists():
        return {"failed": f"{PYTHON} is missing: make .venv-peers/bench-peers.stamp"}
    module = "tests.bench.rebuild.beside"
    arguments = [str(PYTHON), "-m", module, name, str(file), str(idle_s)]
    try:
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        return {"failed": f"it was not done after {LIMIT_S} s"}
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or ["no reason given"])[-1]}
    return dict(json.loads(done.stdout.splitlines()[-1]))
