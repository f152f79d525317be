"""Controls: what is broken on purpose must be found, or the fuzzers are worth nothing.

    control            the victim breaks one rule of the protocol (`mutants`), or the disk lies
    syncs              each sync that the victim makes does nothing, in turn

A sync that nobody misses is harmless only if another beside it does its work: dropped together
they must be missed.
"""

import re
import traceback
from collections.abc import Iterator
from dataclasses import dataclass

from . import histories, mutants
from .case import Campaign, Result, scratch
from .damage import campaign as damage
from .disk import Disk, Image, Medium
from .mutants import Mutant
from .powerloss import Replay, lived, prepared, record
from .runner import tried
from .trace import Operation
from .workloads import workload

SEEDS = 12
"""A control is caught with one of so many seeds; with threads no seed is like another."""
SYNC_PARTS = 4
"""The syncs are shared out among so many cases."""


HISTORY, DAMAGE = "history", "damage"


@dataclass(frozen=True, kw_only=True)
class Control:
    """One thing that is broken, and the workload in which it shows."""

    workload: str
    """HISTORY: several tasks that want the same rows. DAMAGE: a damaged file is read."""
    mutant: Mutant = mutants.sound
    medium: Medium | None = None
    live: bool = False
    """It shows in the victim's life only: after a crash it is mended."""
    words: str
    """A pattern of what is found: another defect is no catch."""


CASES = {
    HISTORY: (histories.CAMPAIGN, "inline"),
    DAMAGE: (damage.CAMPAIGN, "closed 1"),
}
"""Where it is another campaign that finds it, with the case up to its seed."""

CONTROLS = {
    "synchronous-normal": Control(
        workload="crud", mutant=mutants.synchronous_normal, words="acknowledged"
    ),
    "synchronous-off": Control(
        workload="crud", mutant=mutants.synchronous_off, words="acknowledged|SQLite: "
    ),
    "lying-disk": Control(workload="crud", medium=Medium(lies=True), words="SQLite: |acknowledged"),
    "answered-before-commit": Control(
        workload="transactions", mutant=mutants.answered_before_commit, words="acknowledged"
    ),
    "rows-before-counters": Control(
        workload="crud", mutant=mutants.rows_before_counters, words="log: "
    ),
    "folded-too-far": Control(
        workload="fold",
        mutant=mutants.folded_too_far,
        words="does not list rows|differs from brute force",
    ),
    "swapped-in-two": Control(
        workload="rebuild", mutant=mutants.swapped_in_two, words="active generation is missing"
    ),
    "caught-up-too-far": Control(
        workload="rebuild",
        mutant=mutants.caught_up_too_far,
        live=True,
        words="differs from brute force",
    ),
    "truncated-too-far": Control(
        workload="truncate", mutant=mutants.truncated_too_far, words="begins with row version|log: "
    ),
    "deaths-published-late": Control(
        workload="vacuum", mutant=mutants.deaths_published_late, words="the deaths of table"
    ),
    "kept-not-compacted": Control(
        workload="rollback", mutant=mutants.kept_not_compacted, words="that are purged"
    ),
    "purged-past-a-snapshot": Control(
        workload="snapshots", mutant=mutants.purged_past_a_snapshot, words="a snapshot has changed"
    ),
    "later-rows-seen": Control(
        workload="snapshots", mutant=mutants.later_rows_seen, words="a snapshot has changed"
    ),
    "first-committer-ignored": Control(
        workload=HISTORY,
        mutant=mutants.first_committer_ignored,
        words=r"\('(t|ring)', \d+\) changed at",
    ),
    "reads-ignored": Control(workload=HISTORY, mutant=mutants.reads_ignored, words="changed at"),
    "checksums-ignored": Control(
        workload=DAMAGE, mutant=mutants.checksums_ignored, words="a wrong answer"
    ),
    "refusals-take-numbers": Control(
        workload=HISTORY, mutant=mutants.refusals_take_numbers, words=r"expected each from|log: \("
    ),
}


def run(text: str) -> Result:
    """`<control> <seed>`, or `syncs <seed> <part>`."""
    name, seed, *part = text.split()
    if name == "syncs":
        return run_syncs(int(seed), int(part[0]))
    seeds = range(int(seed), int(seed) + SEEDS)
    found = any(caught(CONTROLS[name], each) for each in seeds)
    result = Result(found=[] if found else ["it was not noticed"])
    result.tried["controls caught"] += found
    return result


def caught(control: Control, seed: int) -> bool:
    """Whether what must be found is."""
    return any(re.search(control.words, each) for each in found_of(control, seed))


def found_of(control: Control, seed: int) -> list[str]:
    """How the victim itself fails, or what is bad in an image of its disk."""
    if control.workload in CASES:
        campaign, case = CASES[control.workload]
        with control.mutant():
            return tried({campaign.name: campaign}, f"{campaign.name} {case} {seed}").found
    made = workload(control.workload, seed)
    with scratch() as folder:
        before = prepared(made, folder)
        with control.mutant():  # one that can not be made is no catch
            try:
                operations = lived(made, folder)
            except Exception:  # noqa: BLE001 - that is one way to be caught
                return [traceback.format_exc()]
        if control.live:
            return []
        replay = Replay(made, before, operations, folder, f"{seed}", control.medium)
        replay.finds_something()
        return replay.result.found


def run_syncs(seed: int, part: int) -> Result:
    """Drop each sync of a part; the harmless ones together with a neighbour."""
    result = Result()
    made = workload("small_writes", seed)
    with scratch() as folder:
        before, operations = record(made, folder)

        at = [place for place, each in enumerate(operations) if each.kind in "sd"]

        def missed(*dropped: int) -> bool:
            medium = Medium(ignored=frozenset(dropped))
            replay = Replay(made, before, operations, folder, f"{dropped}", medium)
            since = at[max(0, min(dropped))]
            return replay.finds_something(since=since, recovers=False)

        for number, pending in enumerate(pending_at_syncs(before, operations)):
            if number % SYNC_PARTS != part:
                continue
            result.tried["syncs dropped"] += 1
            if missed(number):
                result.tried["syncs missed alone"] += 1
            elif not pending:
                result.tried["syncs with nothing to do"] += 1
            elif any(missed(number, other) for other in beside(number, at, operations)):
                result.tried["syncs missed with a neighbour"] += 1
            else:
                result.found.append(f"sync {number} of {made.name} is missed by nobody")
    return result


def beside(number: int, at: list[int], operations: list[Operation]) -> list[int]:
    """The syncs that may do the work of this one: those next to it, and the file's next."""
    file = operations[at[number]].file
    same = [other for other in range(number + 1, len(at)) if operations[at[other]].file == file]
    return sorted({*same[:1], number + 1, number - 1} & set(range(len(at))))


def pending_at_syncs(before: Image, operations: list[Operation]) -> list[bool]:
    """For each sync, whether it makes anything durable."""
    disk = Disk(before)
    found = []
    for operation in operations:
        if operation.kind in "sd":
            found.append(disk.waits(operation))
        if operation.kind != "m":
            disk.apply(operation)
    return found


def cases(number: int) -> Iterator[str]:
    """Each control, and the syncs, once a round."""
    yield from (f"{name} {number}" for name in CONTROLS)
    yield from (f"syncs {number} {part}" for part in range(SYNC_PARTS))


CAMPAIGN = Campaign("controls", cases, run, {"controls caught": len(CONTROLS)}, watches=True)
