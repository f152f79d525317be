"""Memory and processes, as Linux counts them."""

import resource
from collections.abc import Iterable
from pathlib import Path

PROC = Path("/proc")


def memory_bytes(processes: Iterable[int]) -> int:
    """What the processes hold together; pages that they share count once (PSS)."""
    return sum(_held(PROC / str(process) / "smaps_rollup") for process in processes)


def _held(file: Path) -> int:
    try:
        lines = file.read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):  # it has just ended
        return 0
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))


def peak_bytes() -> int:
    """The most that this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def descendants(process: int) -> list[int]:
    """The process and all that it has started, directly or not."""
    parents = dict(_parents())
    found = [process]
    for each in found:
        found.extend(child for child, parent in parents.items() if parent == each)
    return found


def _parents() -> Iterable[tuple[int, int]]:
    for folder in PROC.iterdir():
        if not folder.name.isdigit():
            continue
        try:
            status = (folder / "stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        yield int(folder.name), int(status.rpartition(")")[2].split()[1])


def folder_bytes(folder: Path) -> int:
    """The size of all files in a folder, those below included."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
