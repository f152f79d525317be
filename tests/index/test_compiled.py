"""Where the compiled kernels come from: a library of this machine, or numba in this process."""

from pathlib import Path

import numpy as np
import pytest

from centroidb.engine.index import library
from centroidb.engine.index.compiled import PAYS_AFTER, Kernels
from centroidb.engine.index.native import Native, address

pytest.importorskip("numba")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder."""
    monkeypatch.setenv("CENTROIDB_CACHE", str(tmp_path))
    return tmp_path


def works(kernels: Native | None) -> bool:
    """Whether they gather a vector."""
    assert kernels is not None
    vectors, out = np.array([[1, 2], [3, 4]], np.float32), np.empty((1, 2), np.float32)
    table = np.array([[0, 0, 0, 0, 0, 0, 2, address(vectors)]], np.int64)
    return kernels.gather(table, np.array([1]), out) is None and out.tolist() == [[3, 4]]


def test_they_are_made_once_they_pay(cache: Path) -> None:
    """Not for the first rows; no scan waits for them; the next process finds them at once."""
    kernels = Kernels()
    assert kernels.fused(1) is None
    assert kernels._thread is None
    kernels.fused(PAYS_AFTER)
    assert kernels._thread is not None
    assert kernels.load() is kernels.fused(1)
    assert works(kernels.fused(1))
    (made,) = cache.iterdir()
    assert made == library.path()
    assert works(Kernels().fused(1))


def test_a_library_that_others_can_write_is_not_loaded(cache: Path) -> None:
    """It is code."""
    path = library.path()
    assert path is not None
    library.make(path)
    path.chmod(0o722)
    assert Kernels().fused(1) is None


def test_a_damaged_library_is_made_anew(cache: Path) -> None:
    """What can not be loaded counts as not there."""
    path = library.path()
    assert path is not None
    path.write_bytes(b"no library")
    path.chmod(0o700)
    kernels = Kernels()
    assert kernels.fused(1) is None
    assert works(kernels.load())


def test_without_a_linker_numba_compiles_here(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And so it does where the interpreter can not be started anew."""
    monkeypatch.setattr("sys.executable", "/usr/bin/application")
    assert works(Kernels().load())
    assert not list(cache.iterdir())


def test_without_numba_there_are_none(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing fails."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert Kernels().fused(PAYS_AFTER) is None
    assert Kernels().load() is None


def test_sources_are_part_of_the_name() -> None:
    """All modules that are compiled, so that a change of one of them makes another library."""
    folder = Path(library.__file__).parent
    marks = ("import native", "import carray", "simd import", "njit")
    texts = {file.name: file.read_text() for file in folder.glob("*.py")}
    compiled = {name for name, text in texts.items() if any(mark in text for mark in marks)}
    assert "fused.py" in compiled
    assert compiled <= set(library.SOURCES)
