"""The BLAS guard: one thread while anybody is inside, the old setting after."""

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

from centroidb.engine.actors.blas import one_blas_thread


def _blas_threads() -> set[int]:
    np.ones((4, 4)) @ np.ones((4, 4))
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def test_the_last_one_out_restores_the_setting() -> None:
    """Inside there is one BLAS thread, also after one of two has left; then as before."""
    with threadpool_limits(limits=2, user_api="blas"):
        before = _blas_threads()
        first, second = one_blas_thread(), one_blas_thread()
        first.__enter__()
        second.__enter__()
        inside = _blas_threads()
        first.__exit__(None, None, None)
        still_inside = _blas_threads()
        second.__exit__(None, None, None)

        assert (inside, still_inside) == ({1}, {1})
        assert _blas_threads() == before
