"""Runs: consecutive items that together are of about a given size."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def runs(items: Iterable[T], size: Callable[[T], int], size_max: int) -> Iterator[list[T]]:
    """Consecutive items, at most `size_max` together; one that is larger is alone."""
    run: list[T] = []
    total = 0
    for item in items:
        if run and total + size(item) > size_max:
            yield run
            run, total = [], 0
        run.append(item)
        total += size(item)
    if run:
        yield run
