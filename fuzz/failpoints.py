"""Named points: moments in the product's life at which it must be safe to die.

    swap.before     just before that function of the product runs
    swap.after      just after it returned

The product knows nothing of them: each names one of its functions, which is wrapped here.
"""

import importlib
import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any
from unittest.mock import patch

_WAL = "centroidb.wal"
_TXN = "centroidb.txn"
_ACTORS = "centroidb.engine.actors"
_STORAGE = "centroidb.engine.storage"

WHERE = {
    "create": f"{_WAL}.file:_fill",
    "migrate": f"{_WAL}.schema:migrate",
    "recover": f"{_WAL}.file:_recover",
    "wal.append": f"{_WAL}.log:append",
    "commit": f"{_TXN}.group:commit",
    "chore": f"{_ACTORS}.committer:commit",
    "ack": f"{_ACTORS}.committer:Committer._publish",
    "backfill": f"{_WAL}.file:DatabaseFile.backfill",
    "checkpoint": f"{_WAL}.file:DatabaseFile.checkpoint",
    "fold": f"{_STORAGE}.folding:stage",
    "build.begin": f"{_ACTORS}.rebuild.rebuilder:Rebuilder._begin_anew",
    "build.round": f"{_ACTORS}.rebuild.slices:BuildSlices.keep_round",
    "build.assign": f"{_ACTORS}.rebuild.slices:BuildSlices.keep_assigned",
    "build.centroids": f"{_ACTORS}.rebuild.rebuilder:Rebuilder._store_centroids",
    "build.segments": f"{_ACTORS}.rebuild.rebuilder:Rebuilder._store",
    "catchup.batch": f"{_ACTORS}.rebuild.catch_up:CatchUp._file",
    "verify": f"{_ACTORS}.rebuild.takeover:Takeover._verify",
    "swap": f"{_ACTORS}.rebuild.swap:SwapWork.__call__",
    "swap.shown": f"{_ACTORS}.rebuild.swap:Swap.finish",
    "rollback": f"{_ACTORS}.rebuild.rollback:Rollback._take_over",
    "reorganize.stage": f"{_ACTORS}.reorganize.rewriting:Rewriting._stage",
    "reorganize.succeed": f"{_ACTORS}.reorganize.succession:SuccessionWork.__call__",
    "compact": f"{_ACTORS}.sweeper:Sweeper._rewrite",
    "compact.seal": f"{_ACTORS}.sweeper:Sweeper._seal",
    "purge": f"{_WAL}.rows:purge",
    "drop.generation": f"{_ACTORS}.sweeper:Sweeper._drop_generation",
    "drop.table": f"{_ACTORS}.sweeper:_forget_table",
    "truncate": f"{_WAL}.log:truncate",
    "vacuum": f"{_ACTORS}.sweeper:_vacuum_some",
    "snapshot": f"{_TXN}.snapshot:SnapshotRegistry.open",
    "close.mark": f"{_WAL}.file:DatabaseFile._mark_clean",
    "close.single": f"{_WAL}.file:DatabaseFile._leave_wal_mode",
}
"""The function of each pair of points, `module:name`, where it is looked up when it is called."""

POINTS = tuple(f"{name}.{when}" for name in WHERE for when in ("before", "after"))

Reached = Callable[[str], None]
"""Gets the name of each point that is reached, in the thread that reaches it."""


@contextmanager
def watched(reached: Reached) -> Iterator[None]:
    """While it is entered, `reached` hears of every point."""
    with ExitStack() as stack:
        for name, where in WHERE.items():
            owner, attribute = found(where)
            function = getattr(owner, attribute)
            stack.enter_context(patch.object(owner, attribute, wrapped(name, function, reached)))
        yield


def found(where: str) -> tuple[Any, str]:
    """The module or class, and the name in it."""
    module, _, name = where.partition(":")
    *classes, attribute = name.split(".")
    owner: Any = importlib.import_module(module)
    for each in classes:
        owner = getattr(owner, each)
    return owner, attribute


def wrapped(name: str, function: Callable[..., Any], reached: Reached) -> Callable[..., Any]:
    """`function` between its two points."""
    if inspect.iscoroutinefunction(function):

        @wraps(function)
        async def around_async(*args: Any, **kwargs: Any) -> Any:
            reached(f"{name}.before")
            result = await function(*args, **kwargs)
            reached(f"{name}.after")
            return result

        return around_async

    @wraps(function)
    def around(*args: Any, **kwargs: Any) -> Any:
        reached(f"{name}.before")
        result = function(*args, **kwargs)
        reached(f"{name}.after")
        return result

    return around
