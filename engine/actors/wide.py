"""Work done several items at a time, and errors that come out as themselves."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import trio

from ...wal.errors import CentroiDBError, RetryError

T = TypeVar("T")
R = TypeVar("R")


async def each(width: int, items: Sequence[T], work: Callable[[T], Awaitable[R]]) -> list[R]:
    """`work(item)` for each item, `width` at a time; results in the order of the items."""
    results: dict[int, R] = {}
    queue = iter(enumerate(items))

    async def worker() -> None:
        for position, item in queue:
            results[position] = await work(item)

    with unwrapped():
        async with trio.open_nursery() as nursery:
            for _ in range(min(width, len(items))):
                nursery.start_soon(worker)
    return [results[position] for position in range(len(items))]


@contextmanager
def unwrapped() -> Iterator[None]:
    """An exception group in which only one thing really failed comes out as that thing.

    Of several errors that callers expect, the one that is worst for them; it names the others.
    """
    try:
        yield
    except BaseExceptionGroup as group:
        real = [error for error in leaves(group) if not isinstance(error, trio.Cancelled)]
        expected = all(isinstance(error, CentroiDBError) for error in real)
        if not real or (len(real) > 1 and not expected):
            raise
        worst = min(real, key=lambda error: isinstance(error, RetryError))
        for other in real:
            if other is not worst:
                worst.add_note(f"at the same time: {other!r}")
        raise worst from worst.__cause__


def leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    """The exceptions in a group and in its groups."""
    found: list[BaseException] = []
    for error in group.exceptions:
        found += leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


def consists_of(error: BaseException, *kinds: type[BaseException]) -> bool:
    """Whether it is one of these, or a group of nothing else."""
    errors = leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return all(isinstance(each, kinds) for each in errors)
