"""What the figures were measured on."""

import os
import platform
import sqlite3
from pathlib import Path

import numpy as np
import trio

CPUINFO = Path("/proc/cpuinfo")


def machine() -> str:
    """Cores, processor and versions, in one line."""
    return (
        f"{os.cpu_count()} cores ({processor()}); Python {platform.python_version()},"
        f" numpy {np.__version__}, trio {trio.__version__}, SQLite {sqlite3.sqlite_version}"
    )


def processor() -> str:
    """The processor's name, and the instructions that scans depend on."""
    if not CPUINFO.exists():
        return platform.machine()
    pairs = (line.partition(":") for line in CPUINFO.read_text().splitlines())
    fields = {name.strip(): value.strip() for name, _, value in pairs}
    known = [name for name in ("avx2", "avx512f") if name in fields.get("flags", "").split()]
    return ", ".join([fields.get("model name", platform.machine()), platform.machine(), *known])
