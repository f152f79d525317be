"""Statements are read as they are meant."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from centroidb.engine.sql import (
    AbortRebuild,
    CreateIndex,
    DropIndex,
    ExplainRebuild,
    PauseRebuild,
    RebuildIndex,
    Reorganize,
    ResumeRebuild,
    RollBack,
    SetIndex,
    Statement,
    StatementError,
    parse,
)

MIB = 1 << 20
STATEMENTS: dict[str, Statement] = {
    "ALTER INDEX i REBUILD ONLINE WITH DISTANCE DOT PARAMETERS (CENTROID_SEARCH HNSW, BALANCE OFF,"
    f" MEMORY_BYTES {64 * MIB}, SEED 0) KEEP PREVIOUS 2 THROTTLE 50 PERCENT"
    " MAX_DURATION 2 MINUTES": (
        RebuildIndex(
            name="i",
            metric="dot",
            centroid_search="hnsw",
            balance=False,
            memory_bytes=64 * MIB,
            seed=0,
            keep_previous=2,
            throttle=0.5,
            max_duration=120,
        )
    ),
    "alter index i rebuild online throttle 5000 rows max_duration 9": RebuildIndex(
        name="i", throttle=5_000, max_duration=9
    ),
    "ALTER INDEX i REBUILD PAUSE": PauseRebuild(name="i"),
    "ALTER INDEX i REBUILD RESUME PARALLEL 2 MAX_DURATION 30 SECONDS;": ResumeRebuild(
        name="i", parallel=2, max_duration=30
    ),
    "ALTER INDEX i REBUILD ABORT": AbortRebuild(name="i"),
    'ALTER INDEX "i" ROLLBACK PARALLEL 1': RollBack(name="i", parallel=1),
    "ALTER INDEX i REORGANIZE": Reorganize(name="i"),
    "ALTER INDEX i REORGANIZE 8 PARTITIONS PARALLEL 2": Reorganize(
        name="i", partitions=8, parallel=2
    ),
    "ALTER INDEX i SET AUTO_REBUILD ON, KEEP PREVIOUS 0": SetIndex(
        name="i", auto_rebuild="on", keep_previous=0
    ),
    "EXPLAIN REBUILD i": ExplainRebuild(name="i"),
}


@pytest.mark.parametrize(("text", "statement"), STATEMENTS.items())
def test_what_tends_an_index(text: str, statement: Statement) -> None:
    """Every clause of the statements about jobs arrives in its field, in its unit."""
    assert parse(text) == statement


def test_create_index_in_full() -> None:
    """Every clause and parameter of CREATE VECTOR INDEX arrives in its field."""
    statement = parse(
        "CREATE VECTOR INDEX IF NOT EXISTS cities_ivf ON cities (vector)"
        " ORGANIZATION NEIGHBOR PARTITIONS WITH DISTANCE COSINE WITH TARGET ACCURACY 90"
        " PARAMETERS (TYPE IVF, NEIGHBOR PARTITIONS 32, SAMPLES_PER_PARTITION 50,"
        " MIN_VECTORS_PER_PARTITION 5, CODEC SQ8) PARALLEL 2 ONLINE;"
    )

    assert statement == CreateIndex(
        name="cities_ivf",
        table="cities",
        metric="cosine",
        target_accuracy=90,
        nlist=32,
        samples_per_partition=50,
        min_vectors_per_partition=5,
        codec="sq8",
        parallel=2,
        if_not_exists=True,
    )


def test_create_index_leaves_open_what_it_does_not_say() -> None:
    """What a statement does not mention is None."""
    statement = parse("create vector index i on t (vector) organization partitions")

    assert statement == CreateIndex(name="i", table="t")


@pytest.mark.parametrize(
    ("word", "metric"),
    [("L2", "l2"), ("EUCLIDEAN", "l2"), ("Cosine", "cosine"), ("dot", "dot")],
)
def test_distances(word: str, metric: str) -> None:
    """Each distance has its metric, with and without WITH."""
    head = "CREATE VECTOR INDEX i ON t (vector) ORGANIZATION NEIGHBOR PARTITIONS"

    assert getattr(parse(f"{head} DISTANCE {word}"), "metric", None) == metric
    assert parse(f"{head} WITH DISTANCE {word}") == parse(f"{head} DISTANCE {word}")


def test_rebuild_in_full() -> None:
    """Every clause and parameter of ALTER INDEX arrives in its field."""
    statement = parse(
        "ALTER INDEX i REBUILD ONLINE WITH TARGET ACCURACY 95 PARAMETERS"
        " (TYPE IVF, NEIGHBOR PARTITIONS 64, SAMPLES_PER_PARTITION 20,"
        " MIN_VECTORS_PER_PARTITION 4, CODEC FLAT) PARALLEL 3"
    )

    assert statement == RebuildIndex(
        name="i",
        target_accuracy=95,
        nlist=64,
        samples_per_partition=20,
        min_vectors_per_partition=4,
        codec="flat",
        parallel=3,
    )


def test_drop_index() -> None:
    """DROP INDEX knows whether the index must exist."""
    assert parse("DROP INDEX i") == DropIndex(name="i")
    assert parse("drop index if exists i ;") == DropIndex(name="i", if_exists=True)


def test_clauses_and_parameters_come_in_any_order() -> None:
    """The order of clauses and of parameters does not matter."""
    one = "PARALLEL 2 WITH TARGET ACCURACY 90 PARAMETERS (NEIGHBOR PARTITIONS 8, TYPE IVF)"
    other = "PARAMETERS (TYPE IVF, NEIGHBOR PARTITIONS 8) WITH TARGET ACCURACY 90 PARALLEL 2"

    assert parse(f"ALTER INDEX i REBUILD ONLINE {one}") == parse(
        f"ALTER INDEX i REBUILD ONLINE {other}"
    )


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("Cities_2", "Cities_2"),
        ('"two words"', "two words"),
        ('"say ""hi"""', 'say "hi"'),
        ("Städte", "Städte"),
        ("online", "online"),
        ('"drop"', "drop"),
    ],
)
def test_names(written: str, meant: str) -> None:
    """A name keeps its case; quotes allow any characters, and words that are keywords elsewhere."""
    assert parse(f"ALTER INDEX {written} REBUILD ONLINE") == RebuildIndex(name=meant)


def test_names_are_plain_text() -> None:
    """A name is a plain str, which drags nothing of the parser along."""
    assert type(parse("DROP INDEX i").name) is str


def test_comments_and_white_space() -> None:
    """A statement may span lines and hold comments."""
    assert parse("-- now\nDROP\tINDEX -- which?\r\n  i\n;\n-- done") == DropIndex(name="i")


whole = st.integers(1, 2**31 - 1)
names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"), min_size=1)


def optional(template: str, field: int | None) -> str:
    return "" if field is None else template.format(field)


@given(names, st.none() | st.integers(1, 100), st.none() | whole, st.none() | whole)
def test_what_is_written_is_read(
    name: str, accuracy: int | None, nlist: int | None, parallel: int | None
) -> None:
    """Any name and any numbers in range come back as they were written."""
    quoted = '"' + name.replace('"', '""') + '"'
    text = (
        f"ALTER INDEX {quoted} REBUILD ONLINE"
        + optional(" WITH TARGET ACCURACY {}", accuracy)
        + optional(" PARAMETERS (NEIGHBOR PARTITIONS {})", nlist)
        + optional(" PARALLEL {}", parallel)
    )

    assert parse(text) == RebuildIndex(
        name=name, target_accuracy=accuracy, nlist=nlist, parallel=parallel
    )


WORDS = """
    ALTER CREATE DROP INDEX VECTOR IF NOT EXISTS i t "q" ON ( ) , ; ORGANIZATION NEIGHBOR PARTITIONS
    WITH DISTANCE L2 TARGET ACCURACY 7 0 PARAMETERS TYPE IVF CODEC SQ8 REBUILD ONLINE PARALLEL
    -- \" + é
"""
pieces = st.sampled_from(WORDS.split(" ")) | st.just("\n")


@given(st.lists(pieces).map(" ".join) | st.text())
def test_any_text_is_a_statement_or_a_complaint(text: str) -> None:
    """Whatever the text, it is read or refused with a StatementError, and nothing else."""
    with suppress(StatementError):
        assert isinstance(parse(text), Statement)
