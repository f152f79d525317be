"""The one piece of C: it watches file operations, and makes them fail.

It is compiled on demand into a temporary folder and preloaded: a process that wants it
starts itself again once (`preload`).
"""

import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).with_name("files.c")
_MADE = "CENTROIDB_FUZZ_PRELOADED"

KILL = 0
"""In the place of an errno: the process is killed."""
CHANGES = "cwtsdur"
"""The operations that change what a power loss may leave."""
READS = "R"


class NativeMissing(Exception):
    """It can not be built or used here; the text says why."""


def preload() -> None:
    """Start this process again with the C part in it, unless it is there; NativeMissing."""
    if os.environ.get(_MADE):
        return
    if not sys.platform.startswith("linux"):
        raise NativeMissing(f"file operations are watched on Linux only, not on {sys.platform}")
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise NativeMissing("there is no C compiler (gcc or cc)")
    library = Path(tempfile.mkdtemp(prefix="centroidb-fuzz-")) / "files.so"
    built = subprocess.run(
        [compiler, "-O2", "-shared", "-fPIC", "-o", library, SOURCE, "-ldl", "-lpthread"],
        capture_output=True,
        text=True,
        check=False,
    )
    if built.returncode:
        raise NativeMissing(f"{compiler} failed: {built.stderr.strip()}")
    environment = {**os.environ, "LD_PRELOAD": str(library), _MADE: str(library)}
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)


def forget() -> None:
    """The library stays loaded; its file is no longer needed once all processes are made."""
    library = os.environ.get(_MADE)
    if library:
        shutil.rmtree(Path(library).parent, ignore_errors=True)


@cache
def _library() -> ctypes.CDLL:
    if not os.environ.get(_MADE):
        raise NativeMissing("this process was not started by `preload`")
    library = ctypes.CDLL(None)
    library.files_watch.argtypes = [ctypes.c_char_p, ctypes.c_int]
    library.files_fault.argtypes = [ctypes.c_char_p, ctypes.c_long, ctypes.c_int, ctypes.c_int]
    library.files_mark.argtypes = [ctypes.c_char_p]
    for name in ("files_counted", "files_failed"):
        getattr(library, name).restype = ctypes.c_long
    return library


@contextmanager
def watched(folder: Path, trace: Path | None = None) -> Iterator[None]:
    """Watch the files of `folder`, and write what is done to them to `trace`."""
    where = -1
    if trace is not None:
        where = os.open(trace, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    _library().files_watch(os.fsencode(folder), where)
    try:
        yield
    finally:
        _library().files_watch(b"", -1)
        if where >= 0:
            os.close(where)


@contextmanager
def fault(kinds: str, at: int, error: int, *, for_good: bool = False) -> Iterator[None]:
    """Of the operations of these kinds within it, the one numbered `at` (from 0) ends in `error`.

    at: -1 only counts them. error: an errno or KILL. for_good: so do all later ones.
    """
    _library().files_fault(kinds.encode(), at, error, for_good)
    try:
        yield
    finally:
        _library().files_fault(b"", -1, 0, 0)


@contextmanager
def counting(kinds: str) -> Iterator[Callable[[], int]]:
    """Counts operations of these kinds; yields what says how many there were."""
    with fault(kinds, -1, KILL):
        yield lambda: int(_library().files_counted())


def mark(text: str) -> None:
    """Write a word of one's own into the trace."""
    _library().files_mark(text.encode())


def failed() -> int:
    """How many were made to fail."""
    return int(_library().files_failed())
