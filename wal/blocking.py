"""The one seam through which all blocking work runs.

Everything that may block, waits for a disk or computes for more than about a
millisecond goes through `run_blocking` into a worker thread. A simulation
replaces the seam (`substitute`) and runs the same work inline, in an order
drawn from its seed.

A call is never abandoned: when its task is cancelled the thread still runs to
its end first, so no thread ever touches a connection that somebody else has.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, TypeVarTuple

import trio

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

WORKER_THREADS = 16

Seam = Callable[[Callable[[], Any]], Awaitable[Any]]

_limiter: trio.lowlevel.RunVar[trio.CapacityLimiter] = trio.lowlevel.RunVar("centroidb_workers")
_substitute: Seam | None = None


def _workers() -> trio.CapacityLimiter:
    try:
        return _limiter.get()
    except LookupError:
        limiter = trio.CapacityLimiter(WORKER_THREADS)
        _limiter.set(limiter)
        return limiter


async def run_blocking(fn: Callable[[*Ts], T], *args: *Ts) -> T:
    """Run `fn(*args)` in a worker thread and return what it returns."""
    if _substitute is not None:
        result: T = await _substitute(lambda: fn(*args))
        return result
    return await trio.to_thread.run_sync(fn, *args, limiter=_workers())


def is_substituted() -> bool:
    """Whether a simulation decides when blocking work runs."""
    return _substitute is not None


@contextmanager
def substitute(seam: Seam) -> Iterator[None]:
    """While it is entered, `seam` runs all blocking work of the process."""
    global _substitute  # noqa: PLW0603 - the seam is the process's, as threads are
    previous, _substitute = _substitute, seam
    try:
        yield
    finally:
        _substitute = previous
