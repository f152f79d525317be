"""Tables, indexes, generations and jobs as rows of the file."""

import sqlite3
from collections.abc import Iterator
from dataclasses import replace

import pytest

from centroidb.wal import catalog, schema
from centroidb.wal.catalog import GenerationRow, JobRow
from centroidb.wal.checksum import RowSum
from centroidb.wal.seal import Seal
from centroidb.wal.types import GenerationId, IndexId, JobId, Lsn, TableId, Vid
from tests.wal.files import create_table, memory_file, put


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    """An empty database."""
    made = memory_file()
    yield made
    made.close()


def generation(*, fold: int = 5, s0: int = 3) -> GenerationRow:
    """A generation with a field of each kind."""
    return GenerationRow(
        id=GenerationId(0),
        index=IndexId(1),
        state="building",
        s0_lsn=Lsn(s0),
        s0_high=Vid(30),
        fold_lsn=Lsn(fold),
        fold_vid=Vid(50),
        nlist=4,
        seed=7,
        codec="flat",
        metric="l2",
        centroid_search="auto",
        rows_at_build=29,
        drift_baseline=0.5,
        cost_at_build=0.25,
        built_at_ns=1,
        replaced_at_ns=0,
        seal=Seal(),
        parameters={"nlist": 4},
    )


def running_job(index: IndexId) -> JobRow:
    """A job with a value of its own in each field."""
    return JobRow(
        id=JobId(0),
        index=index,
        generation=None,
        kind="rebuild",
        state="running",
        phase="assign",
        fraction=0.5,
        round=1,
        rounds=2,
        rows_done=3,
        rows_total=4,
        rows_per_s=5.5,
        lag_rows=6,
        lag_slope=-7.5,
        held_s=8.5,
        eta_s=None,
        parallel=9,
        throttle="0.5",
        message="",
        started_ns=10,
        updated_ns=11,
    )


def test_a_table_is_read_as_it_was_written(connection: sqlite3.Connection) -> None:
    """Name, dims, metric, key type and creation come back; a new table is empty."""
    table = catalog.insert_table(connection, "träume '\"", 3, "cosine", "str", Lsn(4))

    (row,) = catalog.read_tables(connection)
    assert (row.id, row.name, row.dim, row.metric, row.key_type) == (
        *(table, "träume '\"", 3),
        *("cosine", "str"),
    )
    assert (row.next_vid, row.live, row.sum) == (1, 0, RowSum())
    assert (row.created_lsn, row.changed_lsn, row.dropped_lsn) == (4, 4, None)


def test_counters_are_set_together(connection: sqlite3.Connection) -> None:
    """Next vid, live rows, sum and last change are those given, for one table alone."""
    first, second = create_table(connection, "a"), create_table(connection, "b")
    other = catalog.read_tables(connection)[1]
    whole = RowSum(2**64 - 1, 2**63)
    catalog.update_table(
        connection, first, next_vid=Vid(9), live=5, row_sum=whole, changed_lsn=Lsn(8)
    )

    row, unchanged = catalog.read_tables(connection)
    assert (row.next_vid, row.live, row.sum, row.changed_lsn) == (9, 5, whole, 8)
    assert (unchanged, second) == (other, 2)


def test_numbers_of_tables_are_never_used_again(connection: sqlite3.Connection) -> None:
    """A table made after another was forgotten gets a new number, also after the last one."""
    first = create_table(connection)
    catalog.mark_table_dropped(connection, first, Lsn(2))
    schema.drop_storage(connection, first)
    catalog.delete_table(connection, first)

    assert create_table(connection) == first + 1


def test_a_name_is_free_again_after_the_drop(connection: sqlite3.Connection) -> None:
    """Two tables of a name can not be there at once, but one may follow the other."""
    first = create_table(connection, "a")
    with pytest.raises(sqlite3.IntegrityError):
        catalog.insert_table(connection, "a", 3, "l2", "int", Lsn(3))
    catalog.mark_table_dropped(connection, first, Lsn(3))

    assert catalog.insert_table(connection, "a", 3, "l2", "int", Lsn(4)) == 2
    assert [row.dropped_lsn for row in catalog.read_tables(connection)] == [3, None]


def test_dropping_a_table_drops_its_indexes(connection: sqlite3.Connection) -> None:
    """A dropped table takes its indexes along, at the same LSN, and no others."""
    first, second = create_table(connection, "a"), create_table(connection, "b")
    for name, table in (("a1", first), ("a2", first), ("b1", second)):
        catalog.insert_index(connection, name, table, "l2", {}, Lsn(3))
    catalog.mark_index_dropped(connection, IndexId(1), Lsn(4))

    catalog.mark_table_dropped(connection, first, Lsn(9))

    assert [row.dropped_lsn for row in catalog.read_indexes(connection)] == [4, 9, None]


def test_an_index_is_read_as_it_was_written(connection: sqlite3.Connection) -> None:
    """Parameters survive as JSON, and a new index has no generation."""
    parameters = {"nlist": None, "seed": 0, "codec": "auto"}
    index = catalog.insert_index(connection, "ix", TableId(1), "dot", parameters, Lsn(2))

    (row,) = catalog.read_indexes(connection)
    assert (row.id, row.name, row.table, row.metric) == (index, "ix", 1, "dot")
    assert (row.parameters, row.active, row.created_lsn) == (parameters, None, 2)


def test_a_generation_is_read_as_it_was_written(connection: sqlite3.Connection) -> None:
    """Every column of a generation comes back, and can be set."""
    made = catalog.insert_generation(connection, generation())
    assert catalog.read_generations(connection) == [replace(generation(), id=made)]

    catalog.update_generation(connection, made, state="verified", fold_lsn=8, drift_baseline=0.25)

    (row,) = catalog.read_generations(connection)
    changed = replace(generation(), state="verified", fold_lsn=Lsn(8), drift_baseline=0.25)
    assert row == replace(changed, id=made)


def test_the_swap_retires_the_old_generation(connection: sqlite3.Connection) -> None:
    """One generation is active after a swap; the one before is retired; others are left."""
    index = catalog.insert_index(connection, "ix", TableId(1), "l2", {}, Lsn(2))
    first, second, other = (catalog.insert_generation(connection, generation()) for _ in range(3))

    for new in (first, second):
        catalog.set_active(connection, index, new, metric="dot", parameters={"nlist": new})

    states = {row.id: row.state for row in catalog.read_generations(connection)}
    assert states == {first: "retired", second: "active", other: "building"}
    (row,) = catalog.read_indexes(connection)
    assert (row.active, row.metric, row.parameters) == (second, "dot", {"nlist": second})


def test_the_swap_keeps_what_it_is_told_to(connection: sqlite3.Connection) -> None:
    """Of the generations replaced so far only those named stay, with the time of the swap."""
    index = catalog.insert_index(connection, "ix", TableId(1), "l2", {}, Lsn(2))
    ids = [catalog.insert_generation(connection, generation()) for _ in range(4)]

    for number, new in enumerate(ids):
        catalog.set_active(
            connection,
            index,
            new,
            metric="l2",
            parameters={},
            kept=ids[max(0, number - 2) : number],
            time_ns=100 + number,
        )

    found = catalog.read_generations(connection)
    assert [row.state for row in found] == ["retired", "kept", "kept", "active"]
    assert [row.replaced_at_ns for row in found] == [101, 102, 103, 0]


@pytest.mark.parametrize(
    ("states", "needed"),
    [
        ([], None),
        ([("active", 9, 2)], 9),
        ([("building", 9, 2)], 2),
        ([("catching_up", 9, 2)], 2),
        ([("verified", 9, 2)], 2),
        ([("kept", 9, 2), ("retired", 1, 1)], None),
        ([("active", 9, 2), ("active", 7, 1)], 7),
        ([("active", 9, 2), ("building", 20, 8)], 8),
    ],
)
def test_the_log_is_needed_after_the_smallest_position(
    connection: sqlite3.Connection, states: list[tuple[str, int, int]], needed: int | None
) -> None:
    """Active generations need the log from their fold position, builds from S0, others never."""
    for state, fold, s0 in states:
        made = catalog.insert_generation(connection, generation(fold=fold, s0=s0))
        catalog.update_generation(connection, made, state=state)

    assert catalog.log_needed_after(connection) == needed


def test_a_job_is_written_again_and_again(connection: sqlite3.Connection) -> None:
    """A new job gets a number; writing it again with the number replaces it."""
    job = running_job(IndexId(1))
    number = catalog.put_job(connection, job)
    later = replace(job, id=number, state="done", fraction=1.0, eta_s=0.0, generation=None)

    assert catalog.put_job(connection, later) == number
    assert catalog.read_jobs(connection) == [later]
    assert catalog.put_job(connection, job) != number


def test_forgetting_an_index_forgets_its_jobs(connection: sqlite3.Connection) -> None:
    """With an index its jobs go; those of others stay."""
    first, second = (
        catalog.insert_index(connection, name, TableId(1), "l2", {}, Lsn(2)) for name in "ab"
    )
    job = running_job(first)
    catalog.put_job(connection, job)
    catalog.put_job(connection, replace(job, index=second))

    catalog.delete_index(connection, first)

    assert [row.index for row in catalog.read_jobs(connection)] == [second]
    assert [row.id for row in catalog.read_indexes(connection)] == [second]


def test_a_tables_storage_is_its_own(connection: sqlite3.Connection) -> None:
    """Rows of one table are never another's, and dropping its storage leaves the other's."""
    first, second = create_table(connection, "a"), create_table(connection, "b", "str")
    put(connection, first, 1)
    put(connection, second, "1")

    schema.drop_storage(connection, first)

    names = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}
    assert not names & {"rows_1", "live_1", "dead_1", "dead_1_key"}
    assert connection.execute("SELECT key FROM live_2").fetchall() == [("1",)]
