"""The statements that create, rebuild, tend and drop an index."""

from .errors import StatementError
from .parser import parse
from .statements import (
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
)

__all__ = [
    "AbortRebuild",
    "CreateIndex",
    "DropIndex",
    "ExplainRebuild",
    "PauseRebuild",
    "RebuildIndex",
    "Reorganize",
    "ResumeRebuild",
    "RollBack",
    "SetIndex",
    "Statement",
    "StatementError",
    "parse",
]
