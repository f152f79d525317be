"""The places, read once for all tests."""

import pytest

from centroidb.engine.cli.demo.places import Place, contiguous_us


@pytest.fixture(scope="session")
def places() -> list[Place]:
    """Every contiguous US place of 500 people and more."""
    return contiguous_us()
