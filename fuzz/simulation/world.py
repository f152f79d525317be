"""The world of a simulation: all that could be otherwise the next time comes from one seed.

the order of tasks     trio shuffles them; its generator is seeded
threads                work runs inline, between pauses that are drawn
time                   a clock that only work and idleness move on
SQLite's own dice      the salts of its WAL; the file system's randomness is ours
"""

import _sqlite3
import ctypes
import os
import random
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timezone, tzinfo
from functools import cache
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import patch

from sqlite_utils import migrations
from trio import _core
from trio.testing import MockClock

EPOCH_S = 1_700_000_000.0
"""When a simulated world begins, by the calendar."""
PID = 4_242

_SEED_BYTES = 256
_FILL = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)


class _FileSystem(ctypes.Structure):
    """The beginning of SQLite's `sqlite3_vfs`."""

    _fields_ = (
        ("version", ctypes.c_int),
        ("file_bytes", ctypes.c_int),
        ("path_bytes_max", ctypes.c_int),
        ("next", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("data", ctypes.c_void_p),
        ("open", ctypes.c_void_p),
        ("delete", ctypes.c_void_p),
        ("access", ctypes.c_void_p),
        ("full_path", ctypes.c_void_p),
        ("library_open", ctypes.c_void_p),
        ("library_error", ctypes.c_void_p),
        ("library_symbol", ctypes.c_void_p),
        ("library_close", ctypes.c_void_p),
        ("randomness", ctypes.c_void_p),
    )


class World:
    """What is drawn from the seed besides the order of things."""

    def __init__(self, seed: str) -> None:
        self.chance = random.Random(f"faults {seed}")
        self.pauses = random.Random(f"pauses {seed}")
        self.clock = MockClock(autojump_threshold=0)

    def now_s(self) -> float:
        """Seconds since the world began."""
        return self.clock.current_time()


@contextmanager
def world(seed: str) -> Iterator[World]:
    """Live in a world of this seed."""
    made = World(seed)
    with ExitStack() as stack:
        stack.enter_context(scheduled(seed))
        stack.enter_context(_dice(seed))
        for name, fake in _times(made).items():
            stack.enter_context(patch.object(time, name, fake))
        stack.enter_context(patch.object(os, "getpid", lambda: PID))
        stack.enter_context(patch.object(migrations, "datetime", _calendar(made)))
        yield made


def _times(made: World) -> dict[str, Any]:
    """What the functions of `time` say in this world."""
    calendar = time.gmtime
    return {
        "perf_counter": made.now_s,
        "monotonic": made.now_s,
        "monotonic_ns": lambda: int(made.now_s() * 1e9),
        "time": lambda: EPOCH_S + made.now_s(),
        "time_ns": lambda: int((EPOCH_S + made.now_s()) * 1e9),
        "gmtime": lambda at=None: calendar(EPOCH_S + made.now_s() if at is None else at),
    }


def _calendar(made: World) -> SimpleNamespace:
    """What sqlite-utils asks for the time at which a file was migrated."""

    def now(zone: tzinfo | None = None) -> datetime:
        return datetime.fromtimestamp(EPOCH_S + made.now_s(), zone)

    return SimpleNamespace(datetime=SimpleNamespace(now=now), timezone=timezone)


def scheduler() -> ModuleType:
    """The module of trio that has the scheduler's private switches."""
    run: ModuleType = _core._run
    return run


@contextmanager
def scheduled(seed: str) -> Iterator[None]:
    """Tasks run in an order that depends on the seed alone."""
    run = scheduler()
    with patch.object(run, "_ALLOW_DETERMINISTIC_SCHEDULING", new=True):
        before = run._r.getstate()
        run._r.seed(f"schedule {seed}")
        try:
            yield
        finally:
            run._r.setstate(before)


@cache
def _sqlite() -> ctypes.CDLL:
    library = ctypes.CDLL(_sqlite3.__file__)
    library.sqlite3_vfs_find.restype = ctypes.POINTER(_FileSystem)
    return library


@contextmanager
def _dice(seed: str) -> Iterator[None]:
    """SQLite draws its random numbers from the seed; it keeps a generator, which begins anew."""
    chance = random.Random(f"dice {seed}")

    def fill(_: int, wanted: int, place: int) -> int:
        ctypes.memmove(place, chance.randbytes(wanted), wanted)
        return wanted

    ours = _FILL(fill)
    file_system = _sqlite().sqlite3_vfs_find(None).contents
    theirs = file_system.randomness
    file_system.randomness = ctypes.cast(ours, ctypes.c_void_p).value
    _sqlite().sqlite3_randomness(0, None)
    try:
        yield
    finally:
        file_system.randomness = theirs
        _sqlite().sqlite3_randomness(0, None)
