"""The gate: which rows it asks about, and where it finds their neighbours."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from centroidb.engine.actors.rebuild.gate import Homes, held_out
from centroidb.engine.actors.rebuild.static_phase import Assigned
from centroidb.engine.index.gate import QUERIES


@given(st.integers(0, 400), st.integers(0, 400), st.integers(0, 1_000))
def test_rows_held_out_are_those_that_k_means_has_not_seen(n: int, seen: int, seed: int) -> None:
    """A hundred of the unseen rows, the same for the same seed; of all rows where too few are."""
    random = np.random.default_rng(seed)
    sampled = np.sort(random.choice(n, min(n, seen), replace=False))
    versions = np.cumsum(random.integers(1, 5, n))
    assigned = Assigned(versions, np.zeros(n, np.int32), 0.0, sampled)

    found = held_out(assigned, seed)

    unseen = np.setdiff1d(np.arange(n), sampled)
    pool = unseen if len(unseen) >= QUERIES else np.arange(n)
    drawn = np.random.default_rng((seed, 1)).choice(pool, min(QUERIES, len(pool)), replace=False)
    assert found.tolist() == versions[np.sort(drawn)].tolist()


@given(st.sets(st.integers(1, 60)), st.lists(st.integers(0, 70), max_size=40))
def test_homes_are_found_or_not(listed: set[int], wanted: list[int]) -> None:
    """Each wanted row has the partition it is listed in, or -1."""
    vids = np.array(sorted(listed), np.int64)
    homes = Homes(vids, (vids % 7).astype(np.int32))
    found = homes.of(np.array(wanted, np.int64))
    assert found.tolist() == [vid % 7 if vid in listed else -1 for vid in wanted]
