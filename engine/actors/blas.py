"""BLAS threads are a setting of the whole process: one guard holds them to one.

Work that is already n wide must not have each of its n threads start more. The
guard counts who is inside; the first sets the limit, the last restores it.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_guard = threading.Lock()
"""Guards the two below."""
_inside = 0
_limit: Any = None


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Inside, BLAS calls of this process use one thread each."""
    _enter()
    try:
        yield
    finally:
        _leave()


def _enter() -> None:
    global _inside, _limit  # noqa: PLW0603 - the setting is the process's
    with _guard:
        _inside += 1
        if _inside == 1:
            from threadpoolctl import threadpool_limits

            _limit = threadpool_limits(limits=1, user_api="blas")


def _leave() -> None:
    global _inside, _limit  # noqa: PLW0603 - the setting is the process's
    with _guard:
        _inside -= 1
        if _inside == 0:
            _limit.restore_original_limits()
            _limit = None
