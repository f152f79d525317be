"""What a transaction has written and read."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from centroidb.txn.buffer import CHANGE_BYTES, BufferedRow, WriteBuffer
from centroidb.txn.errors import TransactionTooLarge
from centroidb.wal.types import Key, TableId
from tests.wal.files import DIM, vectors

FIRST, SECOND = TableId(1), TableId(2)
ROW_BYTES = CHANGE_BYTES + 4 * DIM
LARGE = 1 << 20


def put(
    buffer: WriteBuffer,
    *keys: Key,
    table: TableId = FIRST,
    seed: int = 0,
    payload: str | None = None,
) -> None:
    """Put rows with random vectors."""
    buffer.put(table, keys, [payload] * len(keys), vectors(len(keys), seed))


def test_the_last_word_on_a_key_counts() -> None:
    """Put, replaced, deleted, put again: each time the buffer holds the last."""
    buffer = WriteBuffer(LARGE)
    put(buffer, 1, 2, seed=1)
    put(buffer, 1, seed=2, payload="{}")
    change = buffer.changes(FIRST)[1]
    assert isinstance(change, BufferedRow)
    assert change.payload == "{}"
    buffer.delete(FIRST, [1])
    assert buffer.changes(FIRST)[1] is None
    put(buffer, 1, seed=3)

    change = buffer.changes(FIRST)[1]
    assert isinstance(change, BufferedRow)
    assert np.array_equal(change.vector, vectors(1, 3)[0])


def test_tables_are_kept_apart() -> None:
    """The same key in two tables is two changes, and two writes."""
    buffer = WriteBuffer(LARGE)
    put(buffer, 1)
    buffer.delete(SECOND, [1])

    first, second = buffer.writes()
    assert first.rows is not None
    assert (first.table, list(first.rows.keys), list(first.deletes)) == (FIRST, [1], [])
    assert (second.table, second.rows, list(second.deletes)) == (SECOND, None, [1])
    assert buffer.changes(TableId(3)) == {}


def test_nothing_written_is_no_write() -> None:
    """A buffer that was asked for nothing, or for no rows, commits nothing."""
    buffer = WriteBuffer(LARGE)
    put(buffer)

    assert buffer.writes() == []
    assert buffer.nbytes == 0


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(-1, 40)), max_size=30))
def test_the_size_is_that_of_what_is_held(steps: list[tuple[int, int]]) -> None:
    """Whatever is put over what, the bytes counted are those of the last words, deletes too."""
    buffer = WriteBuffer(LARGE)
    for key, length in steps:
        if length < 0:
            buffer.delete(FIRST, [key])
        else:
            put(buffer, key, payload="x" * length)
    last = dict(steps)

    rows = [ROW_BYTES + length for length in last.values() if length >= 0]
    assert buffer.nbytes == sum(rows) + CHANGE_BYTES * (len(last) - len(rows))


def test_too_large_a_transaction_is_refused() -> None:
    """The row beyond the limit is refused; what is held stays and can be replaced."""
    buffer = WriteBuffer(2 * ROW_BYTES)
    put(buffer, 1, 2)
    words = f"would buffer {3 * ROW_BYTES} bytes, expected at most {2 * ROW_BYTES}"
    with pytest.raises(TransactionTooLarge, match=words):
        put(buffer, 3)

    assert list(buffer.changes(FIRST)) == [1, 2]
    assert buffer.nbytes == 2 * ROW_BYTES
    put(buffer, 2, seed=9)


def test_deletes_count_too() -> None:
    """A transaction that deletes without end meets the limit as one that writes does."""
    buffer = WriteBuffer(3 * CHANGE_BYTES)
    buffer.delete(FIRST, [1, 2, 3])
    buffer.delete(FIRST, [3, 3, 1])

    with pytest.raises(TransactionTooLarge):
        buffer.delete(FIRST, [2, 4])
    assert list(buffer.changes(FIRST)) == [1, 2, 3]


def test_a_refused_batch_leaves_nothing_behind() -> None:
    """Of several rows of which the last does not fit, none is buffered."""
    buffer = WriteBuffer(2 * ROW_BYTES)
    with pytest.raises(TransactionTooLarge):
        put(buffer, 1, 2, 3)

    assert buffer.changes(FIRST) == {}
    assert buffer.nbytes == 0


def test_reads_are_remembered_by_table() -> None:
    """Keys read, absent ones too, and tables read whole are what a serializable commit checks."""
    buffer = WriteBuffer(LARGE)
    buffer.note_read(FIRST, [1, 2])
    buffer.note_read(FIRST, [2, 3])
    buffer.note_read_whole(SECOND)

    reads = buffer.reads()
    assert reads[FIRST].keys == {1, 2, 3}
    assert not reads[FIRST].whole
    assert reads[SECOND].whole
    assert reads[SECOND].keys == frozenset()
    assert set(reads) == {FIRST, SECOND}
