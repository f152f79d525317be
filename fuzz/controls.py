"""Controls: what is broken on purpose must be found, or the fuzzers are worth nothing.

    control            the victim breaks one rule of the protocol (`mutants`), or the disk lies
    syncs              each sync that the victim makes does nothing, in turn

A sync that nobody misses is harmless only if another beside it does its work: dropped together
they must be missed.
"""

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


@dataclass(frozen=True)
class Control:
    """One thing that is broken, and the workload in which it shows."""

    workload: str
    """HISTORY: several tasks that want the same rows. DAMAGE: a damaged file is read."""
    mutant: Mutant = mutants.sound
    medium: Medium | None = None
    live: bool = False
    """It shows in the victim's life only: after a crash it is mended."""


CASES = {
    HISTORY: (histories.CAMPAIGN, "inline"),
    DAMAGE: (damage.CAMPAIGN, "closed 1"),
}
"""Where it is another campaign that finds it, with the case up to its seed."""

CONTROLS = {
    "synchronous-normal": Control("crud", mutants.synchronous_normal),
    "synchronous-off": Control("crud", mutants.synchronous_off),
    "lying-disk": Control("crud", medium=Medium(lies=True)),
    "answered-before-commit": Control("transactions", mutants.answered_before_commit),
    "rows-before-counters": Control("crud", mutants.rows_before_counters),
    "folded-too-far": Control("fold", mutants.folded_too_far),
    "swapped-in-two": Control("rebuild", mutants.swapped_in_two),
    "caught-up-too-far": Control("rebuild", mutants.caught_up_too_far, live=True),
    "truncated-too-far": Control("truncate", mutants.truncated_too_far),
    "deaths-published-late": Control("vacuum", mutants.deaths_published_late),
    "kept-not-compacted": Control("rollback", mutants.kept_not_compacted),
    "purged-past-a-snapshot": Control("snapshots", mutants.purged_past_a_snapshot),
    "later-rows-seen": Control("snapshots", mutants.later_rows_seen),
    "first-committer-ignored": Control(HISTORY, mutants.first_committer_ignored),
    "reads-ignored": Control(HISTORY, mutants.reads_ignored),
    "checksums-ignored": Control(DAMAGE, mutants.checksums_ignored),
    "refusals-take-numbers": Control(HISTORY, mutants.refusals_take_numbers),
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
    """Whether the victim itself fails, or an image of its disk is bad."""
    if control.workload in CASES:
        campaign, case = CASES[control.workload]
        with control.mutant():
            return bool(tried({campaign.name: campaign}, f"{campaign.name} {case} {seed}").found)
    made = workload(control.workload, seed)
    with scratch() as folder:
        before = prepared(made, folder)
        with control.mutant():  # one that can not be made is no catch
            try:
                operations = lived(made, folder)
            except Exception:  # noqa: BLE001 - that is one way to be caught
                return True
        if control.live:
            return False
        replay = Replay(made, before, operations, folder, f"{seed}", control.medium)
        return replay.finds_something()


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
