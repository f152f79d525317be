"""What the demo prints: sentences and small tables, in plain text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

from ...db import Index, JobStatus, Outcome
from .cost import Cost, at_recall, at_rows_read
from .neighbours import NEIGHBOURS
from .places import ATTRIBUTION, Place
from .poll import Change, Poll
from .stage import Stage
from .traffic import Pace

RECALL = 0.99
WIDTH = 100
SIZES_SHOWN = 5


def heading(text: str) -> None:
    """The title of a part."""
    print(f"\n{text}\n{'=' * len(text)}")


def say(text: str) -> None:
    """A paragraph."""
    print(textwrap.fill(text, WIDTH))


def table(header: Sequence[str], lines: Iterable[Sequence[object]]) -> None:
    """Columns under their headings, the first to the left and the others to the right."""
    cells = [list(header), *([str(cell) for cell in line] for line in lines)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for first, *others in cells:
        right = (cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))
        print("  " + "  ".join([first.ljust(widths[0]), *right]))


def opening() -> None:
    """What is about to be seen, and whose data it is."""
    heading("An index that drifts, and is rebuilt while it is used")
    say(
        "An IVF index files every row in the partition of its nearest centroid.  A search reads"
        " the nprobe partitions nearest to the query; recall is the share of the true ten nearest"
        " rows that it finds."
    )
    say(
        "Here a row is a place in the United States, as a unit vector.  True neighbours are"
        " computed beside the database, by haversine in float64; everything else is what the"
        " database answered."
    )
    say(ATTRIBUTION)


def stage(number: int, seen: Stage) -> None:
    """What one stage showed, as soon as it is known."""
    cost = at_recall(seen.curve, RECALL)
    heading(f"{number}. {seen.name}: {seen.rows:,} places in {seen.nlist} partitions")
    say(
        f"Imbalance {seen.imbalance:.2f} (1 is even), largest partition {seen.partition_max:,}"
        f" places.  The new area: {seen.area_text}{_sizes(seen.area_sizes)}."
    )
    say(
        f"Questions in the new area reach recall {RECALL} at nprobe {cost.nprobe}:"
        f" {cost.rows_read:,.0f} rows read (mean), {cost.search_ms:.2f} ms (median)."
    )
    for answer in seen.answers:
        say(f"Nearest three to {answer.place}, nprobe 1, {answer.rows_read:,} rows read:")
        print(f"  found  {answer.found_text}")
        print(f"  true   {answer.true_text}")


def _sizes(area_sizes: Sequence[int]) -> str:
    if not area_sizes:
        return ""
    if len(area_sizes) > SIZES_SHOWN:
        return f" ({area_sizes[-1]} to {area_sizes[0]} each)"
    return f" ({', '.join(map(str, area_sizes))})"


def statement(sql: str) -> None:
    """A statement that is about to run."""
    heading("Rebuild online, beside a writer and a reader")
    say(sql)


def outcome(done: Outcome) -> None:
    """What the rebuild says of itself."""
    say(
        f"Done in {done.seconds:.2f} s: {done.rows:,} rows in {done.nlist} partitions,"
        f" {done.rows_caught_up:,} of them caught up from the log."
    )


def stalls(before: tuple[Pace, Pace], during: tuple[Pace, Pace]) -> None:
    """How long the writer and the reader had to wait."""
    table(
        ["", "calls", "median ms", "longest ms"],
        [
            [f"{who} {when}", f"{len(pace.times_ms):,}", *_times(pace)]
            for who, *paces in zip(("writer", "reader"), before, during, strict=True)
            for when, pace in zip(("before", "during the rebuild"), paces, strict=True)
        ],
    )


def _times(pace: Pace) -> list[str]:
    return [f"{pace.median_ms:.1f}", f"{pace.longest_ms:.1f}"]


def acknowledged(count: int, lost: Sequence[int]) -> None:
    """Whether the table holds what the writer was told it holds."""
    say(
        f"Rows written again and again: {count:,};"
        f" of these without their last acknowledged write: {len(lost)}."
    )


def comparison(built: Stage, inserted: Stage, rebuilt: Stage) -> None:
    """The stages side by side: cost at equal recall, recall at equal rows read."""
    stages = (built, inserted, rebuilt)
    costs = [at_recall(stage.curve, RECALL) for stage in stages]
    budgets = (costs[2].rows_read, inserted.curve[0].rows_read)
    heading("Side by side")
    table(
        ["", *(stage.name for stage in stages)],
        [
            ["partitions", *(stage.nlist for stage in stages)],
            ["  that hold the new area", *(len(stage.area_sizes) for stage in stages)],
            ["largest partition, places", *(f"{stage.partition_max:,}" for stage in stages)],
            ["imbalance", *(f"{stage.imbalance:.2f}" for stage in stages)],
            [f"recall {RECALL}: nprobe", *(cost.nprobe for cost in costs)],
            [f"recall {RECALL}: rows read", *(f"{cost.rows_read:,.0f}" for cost in costs)],
            [f"recall {RECALL}: ms", *(f"{cost.search_ms:.2f}" for cost in costs)],
            *(_recall_line(stages, rows_read) for rows_read in budgets),
            ["nprobe 1: rows read", *(f"{stage.curve[0].rows_read:,.0f}" for stage in stages)],
            ["nprobe 1: recall", *(f"{stage.curve[0].recall:.3f}" for stage in stages)],
            [
                "filed with nearest centroid",
                *(f"{stage.filed_nearest / stage.rows:.2%}" for stage in stages),
            ],
        ],
    )
    _conclusion((inserted, costs[1]), (rebuilt, costs[2]))


def _recall_line(stages: Sequence[Stage], rows_read: float) -> list[str]:
    best = [at_rows_read(stage.curve, rows_read) for stage in stages]
    return [
        f"recall in {rows_read:,.0f} rows read",
        *(f"{cost.recall:.3f}" if cost else "< 1 partition" for cost in best),
    ]


def _conclusion(before: tuple[Stage, Cost], after: tuple[Stage, Cost]) -> None:
    """What to expect of a rebuild, and what was seen."""
    (inserted, cost_before), (rebuilt, cost_after) = before, after
    probe_before, probe_after = inserted.curve[0], rebuilt.curve[0]
    say(
        "Rows are filed with their nearest centroid (the last line above), so drift does not hide"
        " rows: it makes searches read more of them, and a rebuild wins that cost back at equal"
        " recall."
        f"  Here recall {RECALL} took {cost_before.rows_read:,.0f} rows read before the rebuild"
        f" and {cost_after.rows_read:,.0f} after it, and {cost_before.search_ms:.2f} and"
        f" {cost_after.search_ms:.2f} ms; beside that, a search that read only"
        f" {probe_after.rows_read:,.0f} rows took {probe_after.search_ms:.2f} ms."
    )
    say(
        "Recall at a fixed nprobe is expected to fall, since the partitions are smaller: here at"
        f" nprobe 1 from {probe_before.recall:.3f} to {probe_after.recall:.3f}, with"
        f" {probe_before.rows_read:,.0f} and {probe_after.rows_read:,.0f} rows read."
    )


def book_opening(first: Sequence[Place], later: Sequence[Place], seeds: int, nlist: int) -> None:
    """What the second run asks."""
    heading(f"The book's cities: {len(first)} at first, {len(later)} more later, {seeds} seeds")
    say(
        'In the book\'s figures one index answers "Gaithersburg" with Philadelphia, Trenton and'
        " Annapolis until it is rebuilt, and then with Frederick, Washington and Arlington."
        f"  Here come later: {'; '.join(map(str, later))}."
    )
    say(
        f"Each seed has an index of {nlist} partitions, of which a search reads one."
        "  Digits: how many of the true nearest three each seed found.  Share: their mean."
    )


def polls(stage_name: str, asked: Sequence[Poll]) -> None:
    """What each seed found, the mean of all, and the answer that most seeds gave."""
    print(f"{stage_name}:")
    for poll in asked:
        digits = "".join(f"{share * NEIGHBOURS:.0f}" for share in poll.shares)
        answer, count = poll.commonest
        print(f"  {answer.place}  {digits}  share {poll.shares.mean():.3f}")
        print(f"    true      {answer.true_text}")
        print(f"    {f'{count} found':<9} {answer.found_text}")


def refused(indexes: Sequence[Index]) -> None:
    """Whose rebuild the database did not take into use."""
    names = ", ".join(index.name for index in indexes) or "none"
    say(
        "A rebuild is not taken into use if, in the same number of rows read, the new partitions"
        f" would find fewer of the true neighbours than the old ones.  Refused so: {names}."
    )


def book_closing(inserted: Sequence[Poll], rebuilt: Sequence[Poll]) -> None:
    """How the rebuild changed what the seeds found."""
    for before, after in zip(inserted, rebuilt, strict=True):
        change = Change(before, after)
        same = len(before.answers) - change.better - change.worse
        say(
            f"{before.answers[0].place}: after the rebuild {change.better} seeds find more,"
            f" {change.worse} fewer, {same} as many; the share changes by {change.mean:+.3f}"
            f" (standard error {change.standard_error:.3f})."
        )


def killed(acknowledged: int, progress: str) -> None:
    """The moment of the kill."""
    heading("A crash")
    say(
        f"A child process inserted and rebuilt; it was killed (SIGKILL) after {acknowledged:,}"
        f" acknowledged inserts, when its rebuild was at: {progress}."
    )


def reopened(count: int, acknowledged: int, lost: Sequence[Place], job: JobStatus) -> None:
    """What the file held when it was opened again."""
    say(
        f"Opened again: {count:,} places; of {acknowledged:,} acknowledged inserts"
        f" {len(lost)} are missing or changed; the rebuild went on where it was and is {job.state}."
    )


def check(errors: Sequence[object]) -> None:
    """What the database's own check found."""
    say("check(): clean." if not errors else f"check(): {len(errors)} errors: {errors}")


def closing(paths: Iterable[Path], seconds: float) -> None:
    """What was written, and how long it all took."""
    heading(f"Done in {seconds:.0f} s, files")
    for path in paths:
        print(f"  {path}  {path.stat().st_size / 1e3:,.0f} kB")
