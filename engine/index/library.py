"""The shared library of compiled kernels, made once on a machine by a process of its own.

    fused.py  --numba-->  LLVM IR  --its calls of Python cut off-->  objects  --cc-->  FILE

numba takes 0.6 s, 130 MB and 100,000 objects to be imported, which the garbage collector then
walks for 50 ms at a time; the library takes a millisecond and nothing of these.  It is made for
the very processor, by its source, by numba's version, and named by all three; another process may
make it at the same time.  It needs a linker, and Linux, which tells the processor's features.
"""

import hashlib
import os
import re
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Final

SOURCES: Final = ("fused.py", "brackets.py", "simd.py", "native.py", "shelf.py", "library.py")
ENTRIES: Final = ("scan", "gather")
SYMBOL: Final = "centroidb_"
CPU_INFO: Final = Path("/proc/cpuinfo")
PRIVATE: Final = 0o022
"""Others must not be able to write what is loaded as code."""

NICENESS: Final = 10
PROGRAM: Final = (
    f"import os, sys; from {__name__} import build; os.nice({NICENESS}); build(sys.argv[1])"
)
_RAISING: Final = r"Py\w+|NRT_\w+|numba_(?:gil_\w+|unpickle|do_raise|runtime_build_excinfo_struct)"
_FOREIGN: Final = re.compile(rf"^declare (.*@(?:{_RAISING})\(.*)$", re.MULTILINE)
_FOREIGN_VALUE: Final = re.compile(r"^(@Py\w+) = external .*global (\w+)$", re.MULTILINE)


def path() -> Path | None:
    """Where the library of this machine is, or is to be; None where there can be none."""
    if not sys.platform.startswith("linux"):
        return None
    digest = hashlib.blake2b(metadata.version("numba").encode(), digest_size=8)
    digest.update(_processor())
    for name in SOURCES:
        digest.update(Path(__file__).with_name(name).read_bytes())
    return cache_folder() / f"kernels-{digest.hexdigest()}.so"


def cache_folder() -> Path:
    """$CENTROIDB_CACHE, else `centroidb` in the user's cache folder."""
    given = os.environ.get("CENTROIDB_CACHE")
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(given or Path(home) / "centroidb")


def _processor() -> bytes:
    """The lines that say what the first processor is and can do."""
    lines = CPU_INFO.read_bytes().split(b"\n\n")[0].splitlines()
    return b"".join(sorted(line for line in lines if line[:5] in (b"model", b"flags", b"Featu")))


def is_private(file: Path) -> bool:
    """Whether a library is there that only this user can have written."""
    try:
        found = file.stat()
    except OSError:
        return False
    return found.st_uid in (os.geteuid(), 0) and not found.st_mode & PRIVATE


def make(file: Path) -> None:
    """Compile and link in another process, at low priority.

    OSError or CalledProcessError where that fails, so too when this is no Python to be started.
    """
    interpreter = Path(sys.executable or "")
    if not interpreter.name.startswith("python") or getattr(sys, "frozen", False):
        raise OSError(f"{interpreter} can not be told to compile")
    command = [str(interpreter), "-c", PROGRAM, str(file)]
    subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True)


def build(name: str) -> None:
    """Write the library to this file, whole or not at all."""
    file = Path(name)
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(dir=file.parent) as scratch:
        os.environ["NUMBA_CACHE_DIR"] = scratch  # what it finds compiled has no IR
        linked = Path(scratch) / file.name
        objects = []
        for entry in ENTRIES:
            objects.append(linked.with_name(f"{entry}.o"))
            objects[-1].write_bytes(_object(entry))
        subprocess.run(["cc", "-shared", "-o", linked, *objects, "-lm"], check=True)
        linked.chmod(0o700)
        linked.replace(file)


def _object(name: str) -> bytes:
    """The machine code of an entry of `fused`, position-independent, as `centroidb_<name>`."""
    from llvmlite import binding
    from numba import types

    from . import fused

    entry = getattr(fused, name)
    entry.compile((types.int64,))
    result = entry.overloads[types.int64,]
    code = result.library.get_llvm_str().replace(result.fndesc.mangled_name, SYMBOL + name)
    target = binding.Target.from_default_triple().create_target_machine(
        cpu=binding.get_host_cpu_name(),
        features=binding.get_host_cpu_features().flatten(),
        opt=3,
        reloc="pic",
        codemodel="default",
    )
    machine_code: bytes = target.emit_object(binding.parse_assembly(_alone(code)))
    return machine_code


def _alone(code: str) -> str:
    """IR without the functions by which numba raises errors and counts references.

    No kernel comes to where they are called. Any other of numba's stays open, and so the library
    can not be loaded.
    """
    code = _FOREIGN.sub(r"define internal \1 {\n  unreachable\n}", code)
    return _FOREIGN_VALUE.sub(r"\1 = internal global \2 zeroinitializer", code)
