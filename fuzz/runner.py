"""The runner: worker processes that try cases, each with a time limit; and what they say in sum.

A case that hangs, or whose process dies, is a defect like any other.
"""

import logging
import multiprocessing
import os
import time
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from .case import Campaign, Result

CASE_MAX_S = 600.0

_context = multiprocessing.get_context("fork")


@dataclass
class Tally:
    """What all cases came to, by campaign."""

    results: dict[str, Result] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def add(self, case: str, result: Result, seconds: float) -> None:
        """One more case; each defect is noted with the text that tries it again."""
        name = case.split()[0]
        known = self.results.setdefault(name, Result())
        known.add(replace(result, found=[f"{case}: {each}" for each in result.found]))
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    @property
    def found(self) -> list[str]:
        """All defects."""
        return [each for result in self.results.values() for each in result.found]


class Worker:
    """A process that tries one case after the other."""

    def __init__(self, campaigns: dict[str, Campaign]) -> None:
        self._campaigns = campaigns
        self.case: str | None = None
        self.began_s = 0.0
        self.pipe: Connection
        self.process: BaseProcess
        self._start()

    def _start(self) -> None:
        self.pipe, theirs = _context.Pipe()
        self.process = _context.Process(target=_work, args=(self._campaigns, theirs), daemon=False)
        self.process.start()
        theirs.close()

    def give(self, case: str) -> None:
        """Begin a case."""
        self.case, self.began_s = case, time.monotonic()
        self.pipe.send(case)

    def take(self) -> Result | None:
        """What came of it, if anything has."""
        ended = self.pipe.poll() or not self.process.is_alive()
        late = time.monotonic() - self.began_s > CASE_MAX_S
        if not ended and not late:
            return None
        self.case = None
        try:
            if ended:
                result: Result = self.pipe.recv()
                return result
        except EOFError:
            pass
        why = f"it died ({self.process.exitcode})" if ended else f"still running at {CASE_MAX_S} s"
        self.stop()
        self._start()
        return Result(found=[why])

    def stop(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.join()
        self.pipe.close()


def _work(campaigns: dict[str, Campaign], pipe: Connection) -> None:
    while True:
        try:
            case = pipe.recv()
        except EOFError:
            return
        pipe.send(tried(campaigns, case))


def tried(campaigns: dict[str, Campaign], case: str) -> Result:
    """Try one case here; what is logged, or said of the numbers in a damaged file, is expected."""
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore", RuntimeWarning)
    name, _, text = case.partition(" ")
    before = descriptors()
    try:
        result = campaigns[name].run(text)
    except Exception:  # noqa: BLE001 - the harness itself must not fail either
        result = Result(found=[traceback.format_exc()])
    if left := descriptors() - before:
        result.found.append(f"{left} descriptors were left open")
    return result


def descriptors() -> int:
    """How many files the process has open."""
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a number, not paths


def run(campaigns: dict[str, Campaign], cases: Iterator[str], until_s: float) -> Tally:
    """Try cases until there are no more, or the monotonic clock says `until_s`."""
    tally = Tally()
    workers = [Worker(campaigns) for _ in range(os.cpu_count() or 1)]
    try:
        while True:
            for worker in workers:
                if worker.case is None and time.monotonic() < until_s:
                    case = next(cases, None)
                    if case is not None:
                        worker.give(case)
            busy = [worker for worker in workers if worker.case is not None]
            if not busy:
                return tally
            wait([worker.pipe for worker in busy], timeout=1.0)
            for worker in busy:
                case, began_s = worker.case, worker.began_s
                result = worker.take()
                if result is not None and case is not None:
                    tally.add(case, result, time.monotonic() - began_s)
    finally:
        for worker in workers:
            worker.stop()
