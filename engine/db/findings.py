"""What `check()` found."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Findings:
    """Everything that is wrong, in words, and how much was looked at."""

    errors: tuple[str, ...]
    tables: int
    rows: int
    records: int
    segments: int

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.errors

    def __str__(self) -> str:
        looked = (
            f"{self.tables} tables, {self.rows} row versions, {self.records} log records, "
            f"{self.segments} segments"
        )
        if self.ok:
            return f"ok: {looked}"
        return "\n".join([f"{len(self.errors)} errors in {looked}:", *self.errors])
