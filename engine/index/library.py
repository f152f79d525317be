"""The shared library of compiled kernels, made once on a machine by a process of its own.

    lone, fused, exact --numba--> LLVM IR --calls of Python cut off--> objects --cc--> FILE, CRC

numba takes 0.6 s, 130 MB and 100,000 objects to be imported, which the garbage collector then
walks for 50 ms at a time; the library takes a millisecond and nothing of these.  It is made for
the very processor, by its source, by numba's version, and named by all three; another process may
make it at the same time.  A file that is cut short, or that others can have written, counts as not
there: to load it would end the process, or run their code.
"""

import contextlib
import hashlib
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
import zlib
from importlib import import_module, metadata
from pathlib import Path
from typing import Final

SOURCES: Final = (
    "fused.py",
    "exact.py",
    "lone.py",
    "brackets.py",
    "simd.py",
    "native.py",
    "shelf.py",
    "library.py",
)
ENTRIES: Final = {
    "scan": "fused",
    "measure": "exact",
    "rank": "exact",
    "alone": "lone",
    "add_up": "exact",
}
"""The kernels, and the modules they are in."""
SYMBOL: Final = "centroidb_"
CPU_INFO: Final = Path("/proc/cpuinfo")
PRIVATE: Final = 0o022
"""Others must not be able to write what is loaded as code."""

CRC_BYTES: Final = 4
FORGOTTEN_S: Final = 90 * 86_400
NICENESS: Final = 10
PROGRAM: Final = (
    f"import os, sys; from {__name__} import build; os.nice({NICENESS}); build(sys.argv[1])"
)
_RAISING: Final = r"Py\w+|NRT_\w+|numba_(?:gil_\w+|unpickle|do_raise|runtime_build_excinfo_struct)"
_FOREIGN: Final = re.compile(rf"^declare (.*@(?:{_RAISING})\(.*)$", re.MULTILINE)
_FOREIGN_VALUE: Final = re.compile(r"^(@Py\w+) = external .*global (\w+)$", re.MULTILINE)


def path() -> Path:
    """Where the library of this machine is, or is to be.

    OSError or PackageNotFoundError where there is nothing to make it of.
    """
    digest = hashlib.blake2b(metadata.version("numba").encode(), digest_size=8)
    digest.update(_processor())
    for name in SOURCES:
        digest.update(Path(__file__).with_name(name).read_bytes())
    return cache_folder() / f"kernels-{digest.hexdigest()}.so"


def cache_folder() -> Path:
    """$CENTROIDB_CACHE, else `centroidb` in the user's cache folder, or the user's own in /tmp."""
    given = os.environ.get("CENTROIDB_CACHE")
    if given:
        return Path(given)
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    if home.is_absolute() and _is_writable(home):
        return home / "centroidb"
    return Path(tempfile.gettempdir()) / f"centroidb-{os.geteuid()}"


def _is_writable(folder: Path) -> bool:
    """Whether it, or the folder it would be made in, can be written to."""
    there = folder if folder.exists() else folder.parent
    return os.access(there, os.W_OK)


def _processor() -> bytes:
    """What the processor is and can do."""
    if not CPU_INFO.exists():
        return f"{platform.system()} {platform.machine()} {platform.processor()}".encode()
    lines = CPU_INFO.read_bytes().split(b"\n\n")[0].splitlines()
    return b"".join(sorted(line for line in lines if line[:5] in (b"model", b"flags", b"Featu")))


def is_sound(file: Path) -> bool:
    """Whether a whole library is there that only this user can have written."""
    try:
        found = file.stat()
        content = file.read_bytes()
    except OSError:
        return False
    if found.st_uid not in (os.geteuid(), 0) or found.st_mode & PRIVATE:
        return False
    return content[-CRC_BYTES:] == _crc(content[:-CRC_BYTES])


def _crc(content: bytes) -> bytes:
    return zlib.crc32(content).to_bytes(CRC_BYTES, "little")


def make(file: Path) -> None:
    """Compile and link in another process, at low priority.

    OSError or CalledProcessError where that fails, so too when this is no Python to be started.
    """
    interpreter = Path(sys.executable or "")
    if not interpreter.name.startswith("python") or getattr(sys, "frozen", False):
        raise OSError(f"{interpreter} can not be told to compile")
    command = [str(interpreter), "-c", PROGRAM, str(file)]
    found_here = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, check=True, env=found_here
    )


def build(name: str) -> None:
    """Write the library to this file, whole or not at all.

    OSError where the sources here are others than those it is named by: arguments would not fit.
    """
    file = Path(name)
    if file.name != path().name:
        raise OSError(f"{file.name}: of other sources than {path().name}")
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(dir=file.parent) as scratch:
        linked = Path(scratch) / file.name
        objects = []
        for entry in ENTRIES:
            objects.append(linked.with_name(f"{entry}.o"))
            objects[-1].write_bytes(_object(entry))
        subprocess.run(["cc", "-shared", "-o", linked, *objects, "-lm"], check=True)
        content = linked.read_bytes()
        linked.write_bytes(content + _crc(content))
        linked.chmod(0o700)
        linked.replace(file)
    _forget_others(file)


def _forget_others(file: Path) -> None:
    """Remove the libraries beside it that nobody has loaded for long."""
    for other in file.parent.glob("kernels-*.so"):
        with contextlib.suppress(OSError):
            if time.time() - other.stat().st_atime > FORGOTTEN_S:
                other.unlink()


def _object(name: str) -> bytes:
    """The machine code of an entry, position-independent, as `centroidb_<name>`."""
    from llvmlite import binding
    from numba import types

    entry = getattr(import_module(f".{ENTRIES[name]}", __package__), name)
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
