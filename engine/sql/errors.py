"""What is wrong with the text of a statement."""

from ...wal.errors import InputError


class StatementError(InputError):
    """The statement can not be read: mend it where the caret points. Nothing was changed."""
