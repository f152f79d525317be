"""The statements that create, rebuild and drop an index."""

from .errors import StatementError
from .parser import parse
from .statements import CreateIndex, DropIndex, RebuildIndex, Statement

__all__ = ["CreateIndex", "DropIndex", "RebuildIndex", "Statement", "StatementError", "parse"]
