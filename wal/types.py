"""The ids and positions that every layer shares.

They are types, so that a position in the log can not be handed over as a row.
"""

from typing import Literal, NewType

Lsn = NewType("Lsn", int)
"""One per commit, from 1, without gaps; 0 is the state of an empty file."""

Vid = NewType("Vid", int)
"""One per row version of a table, from 1, handed out in LSN order and never twice."""

TableId = NewType("TableId", int)
IndexId = NewType("IndexId", int)
GenerationId = NewType("GenerationId", int)
SegmentId = NewType("SegmentId", int)
JobId = NewType("JobId", int)

Key = int | str
"""What a user calls a row: all keys of a table are of one of the two types."""

KeyType = Literal["int", "str"]
