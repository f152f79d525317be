"""What users hold: the database, tables, indexes, snapshots, transactions, jobs and results."""

from ..actors.rebuild.outcome import Outcome
from ..actors.rebuild.progress import Event
from ..actors.reorganize.reorganizer import Reorganization
from .database import Database, open_db
from .decisions import DecisionRecord
from .findings import Findings
from .hits import Hit, Hits, Row
from .index import Index, Partition
from .job import Job
from .jobs import JobStatus
from .plan import RebuildPlan
from .results import WriteResult
from .snapshot import Snapshot
from .space import IndexSpace, Space, TableSpace
from .statistics import DatabaseStatistics, IndexStatistics, TableStatistics
from .table import Table
from .transaction import Transaction

__all__ = [
    "Database",
    "DatabaseStatistics",
    "DecisionRecord",
    "Event",
    "Findings",
    "Hit",
    "Hits",
    "Index",
    "IndexSpace",
    "IndexStatistics",
    "Job",
    "JobStatus",
    "Outcome",
    "Partition",
    "RebuildPlan",
    "Reorganization",
    "Row",
    "Snapshot",
    "Space",
    "Table",
    "TableSpace",
    "TableStatistics",
    "Transaction",
    "WriteResult",
    "open_db",
]
