"""What tests of the index share: the compiled kernels."""

from collections.abc import Iterator

import pytest

from centroidb.engine.index.compiled import KERNELS
from centroidb.engine.index.native import Native


@pytest.fixture(scope="module")
def kernels() -> Iterator[Native]:
    """The kernels, loaded for these tests only."""
    loaded = KERNELS.load()
    assert loaded is not None
    yield loaded
    KERNELS._loaded = KERNELS._thread = None
    KERNELS._asked = False
