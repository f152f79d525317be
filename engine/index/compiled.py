"""The compiled kernels, where numba is installed (`pip install centroidb[fast]`).

Loading them takes about a second, and the first time on a machine some ten more, in which they
are compiled and stored beside the sources or in the user's cache folder.  So a thread loads them
once a process has scanned enough for that to pay, and until then, and without numba, the scan is
numpy's.  The answers are the same.
"""

import importlib.util
import logging
import threading
from types import ModuleType
from typing import Final

PAYS_AFTER: Final = 1 << 20
"""Rows scanned by the process before kernels are loaded."""

log = logging.getLogger(__name__)


class Kernels:
    """The module `fused`, once it is loaded. Safe in any thread."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        """Guards the fields below."""
        self._scanned = 0
        self._thread: threading.Thread | None = None
        self._loaded: ModuleType | None = None

    def fused(self, rows: int) -> ModuleType | None:
        """The kernels for a scan of so many rows; None while they are not loaded."""
        if self._loaded is None and self._thread is None:
            with self._guard:
                self._scanned += rows
                if self._scanned >= PAYS_AFTER:
                    self._begin()
        return self._loaded

    def load(self) -> ModuleType | None:
        """The kernels; waits until they are loaded. None without numba."""
        with self._guard:
            self._begin()
        assert self._thread is not None
        self._thread.join()
        return self._loaded

    def _begin(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._load, name="kernels", daemon=True)
            self._thread.start()

    def _load(self) -> None:
        if importlib.util.find_spec("numba") is None:
            return
        try:
            from . import fused

            fused.warm()
        except Exception:
            log.warning(
                "the compiled kernels can not be loaded: scans go on without", exc_info=True
            )
        else:
            self._loaded = fused


KERNELS: Final = Kernels()
