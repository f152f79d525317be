"""The compiled kernels, where numba is installed (`pip install centroidb[fast]`).

They are loaded at once if this machine has a library of them (`library`).  If not, one is made as
soon as the process has scanned enough for that to pay, which takes some six seconds of another
process.  Until then, where none can be made, and without numba, the scan is numpy's.  The answers
are the same.
"""

import logging
import subprocess
import threading
from ctypes import CDLL, c_void_p, cast
from importlib.metadata import PackageNotFoundError
from typing import Final

import numpy as np

from . import library
from .distance import distances, index_doubles
from .native import Native
from .shelf import Shelf

PAYS_AFTER: Final = 1 << 20
"""Rows scanned or assigned by the process before kernels are made."""

CAN_NOT_BE_MADE: Final = (OSError, PackageNotFoundError, subprocess.CalledProcessError)
"""No numba, no linker, no folder to write to, no interpreter to be started."""

PROVEN_DIMS: Final = (3, 8, 100, 131, 777)
"""One for each way in which numpy adds; see `exact`."""

log = logging.getLogger(__name__)


class Kernels:
    """The kernels, once they are loaded. Safe in any thread."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        """Guards the fields below."""
        self._asked = False
        """Whether a library was looked for."""
        self._scanned = 0
        self._thread: threading.Thread | None = None
        self._loaded: Native | None = None

    def fused(self, rows: int) -> Native | None:
        """The kernels for a scan of so many rows; None while they are not loaded."""
        if self._loaded is None and self._thread is None:
            with self._guard:
                self._look()
                self._scanned += rows
                if self._loaded is None and self._scanned >= PAYS_AFTER:
                    self._begin()
        return self._loaded

    @property
    def loaded(self) -> Native | None:
        """The kernels, if a scan has loaded them."""
        return self._loaded

    def load(self) -> Native | None:
        """The kernels; waits until they are loaded. None without numba."""
        with self._guard:
            self._look()
            if self._loaded is not None:
                return self._loaded
            self._begin()
        assert self._thread is not None
        self._thread.join()
        return self._loaded

    def _look(self) -> None:
        if not self._asked:
            self._asked = True
            self._loaded = _found()

    def _begin(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._make, name="kernels", daemon=True)
            self._thread.start()

    def _make(self) -> None:
        """In a thread that does nothing but wait: the process may end meanwhile."""
        try:
            library.make(library.path())
        except CAN_NOT_BE_MADE as error:
            log.info("there are no compiled kernels: %s", error)
        else:
            self._loaded = _found()


def _found() -> Native | None:
    """The kernels of the library that is there."""
    try:
        file = library.path()
        if not library.is_sound(file):
            return None
        code = CDLL(str(file))
        addresses = (cast(code[library.SYMBOL + name], c_void_p).value for name in library.ENTRIES)
        kernels = Native(*(address or 0 for address in addresses))
        if not agrees(kernels):
            raise OSError("this numpy adds in another order")
        return kernels
    except (*CAN_NOT_BE_MADE, AttributeError) as error:
        log.info("there are no compiled kernels yet: %s", error)
        return None


def agrees(kernels: Native) -> bool:
    """Whether they measure as `distances` does, bit for bit."""
    for dims in PROVEN_DIMS:
        vectors = np.sin(np.arange(2.0, 2.0 + 4 * dims)).astype(np.float32).reshape(4, dims)
        shelf = Shelf.of_vectors(vectors)
        direction, places = index_doubles("l2", vectors[3:]), np.arange(3)
        found, _ = kernels.measure("l2", shelf, places, np.zeros_like(places), direction)
        if not np.array_equal(found, distances("l2", vectors[3], vectors[:3])):
            return False
    return True


KERNELS: Final = Kernels()
