"""The compiled kernels, where numba is installed (`pip install centroidb[fast]`).

They are loaded at once if this machine has a library of them (`library`).  If not, one is made as
soon as the process has scanned enough for that to pay, which takes some five seconds of another
process; where no library can be made, numba compiles them in this one.  Until then, and without
numba, the scan is numpy's.  The answers are the same.
"""

import importlib.util
import logging
import subprocess
import threading
from ctypes import CDLL, c_void_p, cast
from typing import Final

from . import library
from .native import Native

PAYS_AFTER: Final = 1 << 20
"""Rows scanned by the process before kernels are made."""

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
        if importlib.util.find_spec("numba") is None:
            return
        try:
            self._loaded = _made() or _compiled_here()
        except Exception:
            log.warning(
                "the compiled kernels can not be loaded: scans go on without", exc_info=True
            )


def _found() -> Native | None:
    """The kernels of the library that is there."""
    if importlib.util.find_spec("numba") is None:
        return None
    try:
        file = library.path()
        if file is None or not library.is_private(file):
            return None
        code = CDLL(str(file))
        addresses = (cast(code[library.SYMBOL + name], c_void_p).value for name in library.ENTRIES)
        return Native(*(address or 0 for address in addresses))
    except (OSError, AttributeError):
        log.warning("the library of compiled kernels can not be loaded", exc_info=True)
        return None


def _made() -> Native | None:
    """The kernels of a library that is made now."""
    try:
        file = library.path()
        if file is not None:
            library.make(file)
    except (OSError, subprocess.CalledProcessError) as error:
        log.info("no library of compiled kernels could be made: %s", error)
        return None
    return _found()


def _compiled_here() -> Native:
    """The kernels, compiled by numba in this process, or loaded from its cache."""
    from numba import types

    from . import fused

    addresses = []
    for name in library.ENTRIES:
        entry = getattr(fused, name)
        entry.compile((types.int64,))
        result = entry.overloads[types.int64,]
        addresses.append(result.library.get_pointer_to_function(result.fndesc.mangled_name))
    return Native(*addresses)


KERNELS: Final = Kernels()
