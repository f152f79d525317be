"""The nearest so far: kept exactly, with bounds that are proven."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from centroidb.engine.index import topk
from centroidb.engine.index.queries import Queries
from centroidb.engine.index.topk import TopK, group_positions
from tests.index.data import SEED

pairs = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from([0.0, 0.5, 1.0]), st.integers(0, 99)),
    unique=True,
    max_size=40,
)


def queries_at_origin() -> Queries:
    """Three queries under l2 whose rank is half the squared distance."""
    return Queries.of("l2", np.zeros((3, 2), np.float32))


@given(st.lists(pairs, min_size=1, max_size=4, unique_by=tuple), st.integers(1, 6))
def test_merging_keeps_the_nearest(batches: list[list[tuple[int, float, int]]], k: int) -> None:
    """After any merges each query has its first k (distance, vid) pairs, and the k-th as bound."""
    top = TopK(queries_at_origin(), k)
    seen = {each for batch in batches for each in batch}
    left = sorted(seen)
    for batch in np.array_split(np.arange(len(left)), len(batches)):
        some = [left[i] for i in batch[::-1]]
        top.merge(
            np.array([each[0] for each in some], np.intp),
            np.array([each[1] for each in some]),
            np.array([each[2] for each in some], np.int64),
        )

    for query in range(3):
        expected = sorted(each[1:] for each in seen if each[0] == query)[:k]
        vids, distances = top.of(query)
        assert list(zip(distances.tolist(), vids.tolist(), strict=True)) == expected
        bound = expected[-1][0] ** 2 / 2 if len(expected) == k else np.inf
        assert bound <= top.bounds[query] <= bound * (1 + 1e-12)


def test_upper_ends_prove_a_bound() -> None:
    """The bound is at least the k-th smallest upper end so far, and close to it."""
    random = np.random.default_rng(SEED)
    for k in (1, 3, 10):
        top = TopK(queries_at_origin(), k)
        seen: list[list[float]] = [[], []]
        for columns in (1, 2, k, 4 * topk.GROUPS * k + 7, 3):
            uppers = random.random((2, columns)).astype(np.float32)
            top.prove(np.array([2, 0]), uppers)
            for ends, row in zip(seen, uppers, strict=True):
                ends.extend(row.tolist())
            for query, ends in zip((2, 0), seen, strict=True):
                ordered = sorted(ends)
                kth = ordered[k - 1] if len(ends) >= k else np.inf
                assert top.bounds[query] >= kth
                assert len(ends) < k or top.bounds[query] <= ordered[min(2 * k, len(ends) - 1)]
        assert top.bounds[1] == np.inf


def test_positions_within_groups() -> None:
    """Each entry counts from the start of its group."""
    positions = group_positions(np.array([0, 0, 0, 4, 7, 7]))

    assert positions.tolist() == [0, 1, 2, 0, 0, 1]
