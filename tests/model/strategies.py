"""What Hypothesis draws: sequences of operations, small numbers everywhere."""

from typing import Any

from hypothesis import strategies as st

from .indexing import (
    CancelBuild,
    Check,
    Crash,
    CreateIndex,
    CreateTable,
    Damage,
    DropIndex,
    DropTable,
    FinishBuilds,
    Pass,
    PauseBuild,
    Rebuild,
    Reopen,
    Reorganize,
    RollBack,
    Vacuum,
)
from .reading import ALL, Ask, AskAgain, Compare, Hold, LetGo
from .transacting import Begin, Commit, Rollback, Within
from .world import Question
from .writing import Delete, Insert, Rows, UpdatePayloads, Upsert

KEYS = 70
NUMBERS = 200
INDEXES = ("i0", "i1", "i2")
NEWEST = -1
"""Which of the open transactions."""

Strategy = st.SearchStrategy[Any]

tables = st.sampled_from(["a", "a", "a", "b"])
keys = st.integers(0, KEYS - 1)
numbers = st.integers(0, NUMBERS)
which = st.integers(0, 7)
metrics = st.sampled_from(["l2", "cosine", "dot"])
nlists = st.sampled_from([None, 1, 3, 8, 24])

few = st.builds(Rows, tables, st.lists(st.tuples(keys, numbers), min_size=1, max_size=5))


@st.composite
def many(draw: st.DrawFn) -> Rows:
    """A run of keys, with vectors that lie about one or all of the centres."""
    table, first, number = draw(tables), draw(keys), draw(numbers)
    count, step = draw(st.integers(20, 110)), draw(st.sampled_from([1, 5, 7]))
    return Rows(table, [((first + at) % KEYS, number + step * at) for at in range(count)])


questions = st.builds(
    Question,
    table=tables,
    number=st.integers(0, 11),
    k=st.sampled_from([1, 2, 5, 30, 200]),
    nprobe=st.sampled_from([None, 1, 2, 3, ALL, ALL]),
    exact=st.sampled_from([False, False, False, True]),
    metric=st.sampled_from([None, None, "l2", "cosine", "dot"]),
)
by_index = st.builds(
    Question,
    table=tables,
    number=st.integers(0, 11),
    k=st.sampled_from([1, 5, 30]),
    nprobe=st.sampled_from([None, 1, 2, ALL]),
    index=st.sampled_from(INDEXES),
)
asks = st.builds(Ask, questions | by_index, st.lists(st.integers(0, 11), max_size=4), which)

writing = st.one_of(
    st.builds(Upsert, few, st.sampled_from(["arrays", "mappings", "one by one"])),
    st.builds(Upsert, many(), st.sampled_from(["arrays", "mappings"])),
    st.builds(Insert, few),
    st.builds(UpdatePayloads, tables, st.lists(keys, min_size=1, max_size=4), numbers),
    st.builds(Delete, tables, keys, st.integers(1, 5)),
    st.builds(Delete, tables, keys, st.integers(10, 60)),
)
reading = st.one_of(
    st.builds(Hold),
    asks,
    asks,
    asks,
    st.builds(AskAgain),
    st.builds(LetGo, which),
    st.builds(Compare),
)
steps = st.sampled_from(
    ["upsert", "upsert", "insert", "update", "delete", "get", "count", "search", "iterate"]
)
transacting = st.one_of(
    st.builds(Begin, st.sampled_from(["snapshot", "serializable"])),
    st.builds(Within, which, steps, few),
    st.builds(Within, which, steps, few),
    st.builds(Commit, which),
    st.builds(Commit, which),
    st.builds(Rollback, which),
)
rebuilds = st.builds(
    Rebuild,
    st.sampled_from(INDEXES),
    nlists,
    st.sampled_from([1, 2, 4]),
    st.integers(0, 2),
    st.booleans(),
)
reorganizations = st.builds(
    Reorganize, st.sampled_from(INDEXES), st.sampled_from([None, None, 1, 2])
)
indexing = st.one_of(
    st.builds(CreateIndex, st.sampled_from(INDEXES), tables, metrics, nlists, st.integers(0, 3)),
    rebuilds,
    rebuilds,
    rebuilds,
    st.builds(RollBack, st.sampled_from(INDEXES)),
    st.builds(PauseBuild, st.sampled_from(INDEXES), st.booleans()),
    reorganizations,
    reorganizations,
    st.builds(FinishBuilds),
    st.builds(CancelBuild, which),
    st.builds(Pass, st.integers(1, 300)),
    st.builds(DropIndex, st.sampled_from(INDEXES)),
)
opened = st.sampled_from(["resume", "keep", "drop"])
whole = st.one_of(
    st.builds(Vacuum),
    st.builds(Vacuum),
    st.builds(Check),
    st.builds(Reopen, opened),
    st.builds(Crash, st.booleans(), opened),
    st.builds(Damage, st.integers(0, 1 << 24)),
    st.builds(DropTable, tables),
    st.builds(CreateTable, tables),
)

one = st.one_of(writing, writing, reading, reading, transacting, indexing, indexing, whole)


@st.composite
def conflict(draw: st.DrawFn) -> list[Any]:
    """A transaction, and in the middle of it what others do to a few keys."""
    table, near = draw(tables), draw(keys)
    close = st.integers(near, near + 4).map(lambda key: key % KEYS)
    rows = st.builds(
        Rows, st.just(table), st.lists(st.tuples(close, numbers), min_size=1, max_size=2)
    )
    step = st.builds(Within, st.just(NEWEST), steps, rows)
    other = st.builds(Upsert, rows) | st.builds(Delete, st.just(table), close, st.just(2))
    begin = Begin(draw(st.sampled_from(["snapshot", "serializable"])))
    before = draw(st.lists(step, min_size=1, max_size=3))
    between = draw(st.lists(other, max_size=2))
    after = draw(st.lists(step, max_size=2))
    return [Rollback(0), begin, *before, *between, *after, Commit(NEWEST)]


@st.composite
def churn(draw: st.DrawFn) -> list[Any]:
    """Rows that come and go: deltas that fill, deaths that are purged, segments that thin out."""
    table, first = draw(tables), draw(keys)
    found: list[Any] = []
    for _ in range(draw(st.integers(1, 3))):
        count, number = draw(st.integers(10, 60)), draw(numbers)
        rows = [((first + at) % KEYS, number + at) for at in range(count)]
        found += [Upsert(Rows(table, rows)), Delete(table, first, draw(st.integers(10, 60)))]
    return found


@st.composite
def held_through(draw: st.DrawFn) -> list[Any]:
    """A snapshot asked before and after something large, with purges on the way."""
    asked = draw(asks)
    large = [
        draw(churn()),
        [draw(rebuilds)],
        [draw(reorganizations)],
        [DropIndex(draw(st.sampled_from(INDEXES)))],
    ]
    happens = draw(st.lists(st.sampled_from(large), min_size=1, max_size=3))
    return [Hold(), asked, *(each for some in happens for each in some), Vacuum(), AskAgain()]


alone = one.map(lambda operation: [operation])
scenes = st.one_of(alone, alone, alone, alone, conflict(), churn(), held_through())


@st.composite
def histories(draw: st.DrawFn, longest: int) -> list[Any]:
    """Operations to run one after the other: single ones, and scenes of several.

    A list alone would be of five on the average, however long it may be.
    """
    length = draw(st.integers(1, longest))
    drawn = draw(st.lists(scenes, min_size=length, max_size=length))
    return [operation for scene in drawn for operation in scene]
