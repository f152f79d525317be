"""A history: what each player did and saw, with the LSNs that order it all.

    before     the last LSN anybody knew of when the player began
    snapshot   what it read from; none for a write outside of a transaction
    lsn        what its commit was answered with

An item is a table and a key; a row is the number of its vector, or None where there is none.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

WRITERS = 4

Item = tuple[str, int]
Rows = Mapping[int, int]
"""Vector numbers by key."""


@dataclass(frozen=True)
class Reads:
    """What a transaction read: items, and tables whole."""

    items: frozenset[Item] = frozenset()
    tables: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Wish:
    """A commit that was asked for."""

    before: int
    snapshot: int | None
    writes: Mapping[Item, int | None]
    reads: Reads | None = None
    """Of a serializable transaction."""


@dataclass(frozen=True)
class Commit:
    """It was acknowledged."""

    lsn: int
    wish: Wish


@dataclass(frozen=True)
class Refusal:
    """It came to nothing: ConflictError."""

    wish: Wish
    why: str
    latest: int
    """No commit can have a higher LSN by then: what was known, and one of each other writer."""


@dataclass(frozen=True, kw_only=True)
class Sight:
    """What was read of a table. keys: only these were asked for, None for all of them.

    own: what the reader itself had written on top and not committed.
    """

    before: int
    lsn: int
    table: str
    rows: Rows
    keys: tuple[int, ...] | None = None
    own: Mapping[Item, int | None] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a search found that probed every partition: keys and distances."""

    before: int
    lsn: int
    table: str
    query: int
    """The number of the vector."""
    k: int
    keys: tuple[int, ...]
    distances: bytes
    own: Mapping[Item, int | None] = field(default_factory=dict)


@dataclass
class History:
    """All of it. The players append; `first` is the LSN before their first commit."""

    first: int
    state: Mapping[Item, int]
    """At `first`."""
    commits: list[Commit] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    sights: list[Sight] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    known: int = 0
    """The last LSN that was acknowledged to anybody."""
    upheavals: int = 0
    """Builds, folds and the like that came to their end meanwhile."""

    def __post_init__(self) -> None:
        self.known = self.first

    def commit(self, lsn: int, wish: Wish) -> None:
        """A commit was acknowledged."""
        self.commits.append(Commit(lsn, wish))
        self.known = max(self.known, lsn)

    def refuse(self, wish: Wish, why: str) -> None:
        """A commit was refused."""
        self.refusals.append(Refusal(wish, why, self.known + WRITERS - 1))
