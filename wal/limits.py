"""A limit on everything, in one place; tests shrink them so that borders lie near."""

from dataclasses import dataclass

MIB = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds of one open database. Sizes in bytes, ages in seconds, the rest are counts."""

    dims: int = 65_535
    k: int = 10_000
    key_bytes: int = 1_024
    payload_bytes: int = MIB
    payload_depth: int = 64
    """Lists and dicts in each other: reading back takes stack, the reader's."""
    vector_norm: float = 1e18
    """Squares of larger norms leave the float32 range."""

    chunk_bytes: int = MIB
    """A bulk write is cut into commits of about this size."""
    transaction_bytes: int = 64 * MIB
    group_bytes: int = 4 * MIB
    """How much one SQLite transaction gathers from waiting writers."""
    queue_requests: int = 256
    slice_bytes: int = MIB
    """What a chore writes between two groups of commits."""

    delta_rows: int = 8_192
    """A delta of this many rows is folded into segments."""
    delta_bytes: int = 16 * MIB
    """So is one with this many bytes of vectors."""
    lag_rows: int = 65_536
    """Rows not yet filed in an index, beyond which writers wait."""
    lag_bytes: int = 64 * MIB
    catch_up_rows: int = 512
    """A build swaps when it is at most this many rows behind."""

    sqlite_wal_bytes: int = 4 * MIB
    """A checkpoint is made when SQLite's own WAL reaches this size."""
    log_records: int = 10_000
    """Records kept in the log when no index needs them."""
    commits_kept: int = 100_000
    """Idempotency keys are remembered for this many commits."""
    jobs_kept: int = 100
    """Past builds of an index that are remembered."""
    readers: int = 4
    snapshot_age_s: float = 3_600.0
    unfinished_age_s: float = 86_400.0
    """A build that was cut short, and that nobody takes up for so long, is dropped."""
    purge_rows: int = 4_096
    """Ended row versions below the horizon that wake the Sweeper."""
    gate_rows: int = 2_000
    """A rebuild of fewer rows is not compared with the generation before it."""
    train_rows: int = 256
    """An index without a given nlist stays exact below this many rows."""
