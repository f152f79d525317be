"""Where the compiled kernels come from: a library of this machine, and where there is none."""

import os
import subprocess
import time
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import numpy as np
import pytest

from centroidb.engine.index import library
from centroidb.engine.index.compiled import PAYS_AFTER, Kernels
from centroidb.engine.index.native import Native, address
from centroidb.engine.index.shelf import VECTORS, Shelf

pytest.importorskip("numba")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder."""
    monkeypatch.setenv("CENTROIDB_CACHE", str(tmp_path))
    return tmp_path


def works(kernels: Native | None) -> bool:
    """Whether they measure a distance."""
    assert kernels is not None
    vectors, one = np.array([[1, 2], [3, 4]], np.float32), np.zeros(1, np.intp)
    shelf = Shelf(1)
    shelf.table[0, VECTORS] = address(vectors)
    measured, unread = kernels.measure("l2", shelf, one + 1, one, np.zeros((1, 2)))
    return unread is None and measured.tolist() == [5]


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


def test_a_library_of_other_sources_is_not_made(cache: Path) -> None:
    """Its arguments would not fit, and that would end the process."""
    with pytest.raises(subprocess.CalledProcessError):
        library.make(cache / "kernels-of-another.so")
    assert not list(cache.iterdir())


def test_a_library_that_others_can_write_is_not_loaded(cache: Path) -> None:
    """It is code."""
    library.make(library.path())
    library.path().chmod(0o722)
    assert Kernels().fused(1) is None


@pytest.mark.parametrize("left_bytes", [0, 4, 30_000])
def test_a_library_that_is_cut_short_is_made_anew(cache: Path, left_bytes: int) -> None:
    """To load it would end the process."""
    library.make(library.path())
    os.truncate(library.path(), left_bytes)
    kernels = Kernels()
    assert kernels.fused(1) is None
    assert works(kernels.load())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sys.executable", "/usr/bin/application"),
        ("sys.executable", None),
        ("sys.frozen", True),
    ],
)
def test_where_no_interpreter_can_be_started_there_are_none(
    cache: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: object
) -> None:
    """An application that is not Python's must not be started a second time."""
    monkeypatch.setattr(name, value, raising=False)
    assert Kernels().load() is None
    assert not list(cache.iterdir())


def test_without_a_linker_there_are_none(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing is left behind."""
    monkeypatch.setenv("PATH", str(cache))
    assert Kernels().load() is None
    assert not list(cache.iterdir())


def test_without_numba_there_are_none(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing fails."""

    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.version", missing)
    assert Kernels().fused(PAYS_AFTER) is None
    assert Kernels().load() is None


def test_a_user_without_a_home_has_a_folder_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or one whose home can not be written to."""
    for name in ("CENTROIDB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path / "nobody" / "nowhere"))
    assert library.cache_folder() == tmp_path / f"centroidb-{os.geteuid()}"


def test_forgotten_libraries_go(cache: Path) -> None:
    """Those of other sources or processors that nobody has loaded for long."""
    for name, age_s in (("kernels-old.so", library.FORGOTTEN_S + 60), ("kernels-new.so", 60)):
        (cache / name).touch()
        os.utime(cache / name, (time.time() - age_s,) * 2)
    library.make(library.path())
    assert {each.name for each in cache.iterdir()} == {"kernels-new.so", library.path().name}


def test_sources_are_part_of_the_name() -> None:
    """All modules that are compiled, so that a change of one of them makes another library."""
    folder = Path(library.__file__).parent
    marks = ("import native", "import carray", "simd import", "njit")
    texts = {file.name: file.read_text() for file in folder.glob("*.py")}
    compiled = {name for name, text in texts.items() if any(mark in text for mark in marks)}
    assert "fused.py" in compiled
    assert compiled <= set(library.SOURCES)
