"""The Searcher's step: which searches are answered together."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from centroidb.engine.actors.searcher import QUERIES_A_BATCH, Search, Searcher
from centroidb.engine.storage.lookup import IndexProbe, Query
from centroidb.txn.deaths import Deaths, Visibility
from centroidb.wal.types import Lsn, Vid

GENERATION: Any = SimpleNamespace(row=SimpleNamespace(id=1))
RANKER: Any = object()
ENDS = Deaths(Vid(10)).ends


def _search(lsn: int = 5, k: int = 3, queries: int = 1, nprobe: int = 4) -> Search:
    vectors = np.zeros((queries, 2), np.float32)
    visibility = Visibility(Vid(9), Lsn(lsn), ENDS)
    probe = IndexProbe(GENERATION, RANKER, SimpleNamespace(), nprobe)  # type: ignore[arg-type]
    return Search(SimpleNamespace(), visibility, Query("l2", vectors, k), probe)  # type: ignore[arg-type]


def _searcher(*searches: Search) -> Searcher:
    searcher = Searcher(SimpleNamespace(), workers=1)  # type: ignore[arg-type]
    searcher._waiting = list(searches)
    return searcher


async def test_searches_that_ask_the_same_of_the_same_state_go_together() -> None:
    """Equal snapshot, index, nprobe and k make one batch; the rest waits."""
    alike = [_search(), _search()]
    others = [_search(lsn=6), _search(k=4), _search(nprobe=5)]
    searcher = _searcher(alike[0], others[0], alike[1], *others[1:])

    assert list(searcher.step().requests) == alike
    assert searcher._waiting == others


async def test_a_search_that_hides_rows_goes_alone() -> None:
    """A transaction's search, which hides rows it has overwritten, is not gathered."""
    plain = _search()
    hiding = replace(plain, visibility=plain.visibility.excluding(np.array([3])))

    assert list(_searcher(hiding, plain).step().requests) == [hiding]


async def test_a_batch_is_bounded() -> None:
    """A batch holds so many queries, but always at least one request."""
    large = [_search(queries=QUERIES_A_BATCH), _search()]

    assert list(_searcher(*large).step().requests) == large[:1]


async def test_withdrawn_searches_are_skipped() -> None:
    """Nothing is looked up for a caller that was cancelled while it waited."""
    gone, there = _search(), _search()
    gone.promise.withdrawn = True

    assert list(_searcher(gone, there).step().requests) == [there]
