"""What may be in a database whose steps may be cut short, fail, or be refused.

    s 0 3        task 0 begins its step 3         every outcome of it may be there
    a 0 3        it was acknowledged              its last outcome is
    r 0 3        it was refused                   nothing has changed
    u 0 3        it was cancelled                 every outcome of it may be there, for good
    f 0 3 E 7    it failed with E after 7 rows    what that says
    v 0 t {...}  task 0 saw these rows of t       whatever differs from them is not the case

Each task has things of its own, so there is one list of possible states for each.
"""

import json

from ..oracle import Bad, difference, left, touched
from ..steps import DropTable, Look, State, Step

POSSIBLE_MAX = 4_000


class Belief:
    """The possible states of a database, by what its tasks say."""

    def __init__(self, state: State, tasks: list[list[Step]]) -> None:
        self._tasks = tasks
        self._items = [touched(steps) | _dropped(steps, state) for steps in tasks]
        self._possible: list[list[State]] = [[_of(state, items)] for items in self._items]
        self._running: list[Step | None] = [None for _ in tasks]
        everything = set().union(*self._items)
        self._others = {item: n for item, n in state.items() if item not in everything}

    def hear(self, said: str) -> None:
        """One word."""
        word, task_text, rest = said.split(" ", 2)
        task = int(task_text)
        if word == "v":
            table, _, rows = rest.partition(" ")
            self._see(task, table, json.loads(rows))
        elif word == "s":
            self._running[task] = self._tasks[task][int(rest)]
        elif word in ("a", "r", "u", "f"):
            number, _, failure = rest.partition(" ")
            step, self._running[task] = self._tasks[task][int(number)], None
            self._possible[task] = self._after(self._possible[task], step, word, failure)

    def _after(
        self, before: list[State], step: Step, word: str, failure: str | None = None
    ) -> list[State]:
        if word == "r" and not isinstance(step, Look):  # a Look is refused by a step within it
            return before
        if word == "a":
            return _different([step.outcomes(state)[-1] for state in before])
        return _different([each for state in before for each in left(step, state, failure)])

    def _see(self, task: int, table: str, rows: dict[str, int]) -> None:
        prefix = f"{table}/"
        seen = _of({f"{table}/{key}": number for key, number in rows.items()}, self._items[task])
        so = [
            state
            for state in self._possible[task]
            if {item: n for item, n in state.items() if item.startswith(prefix)} == seen
        ]
        if not so:
            wrong = difference(self._possible[task][-1], seen)
            raise Bad(f"task {task} sees in {table} what can not be: {wrong}")
        self._possible[task] = so

    def judge(self, found: State) -> None:
        """Bad unless this is one of the possible states."""
        everything = set().union(*self._items)
        others = {item: n for item, n in found.items() if item not in everything}
        if others != self._others:
            raise Bad(f"what nobody touched has changed: {difference(self._others, others)}")
        for task, possible in enumerate(self._possible):
            running = self._running[task]
            allowed = self._after(possible, running, "u") if running else possible
            mine = _of(found, self._items[task])
            if mine not in allowed:
                raise Bad(
                    f"task {task}, {len(allowed)} states are possible: "
                    f"{difference(allowed[0], mine)}"
                )


def _dropped(steps: list[Step], state: State) -> set[str]:
    """The rows that are there and go with their tables."""
    tables = tuple(f"{step.table}/" for step in steps if isinstance(step, DropTable))
    return {item for item in state if item.startswith(tables)}


def _of(state: State, items: set[str]) -> State:
    return {item: number for item, number in state.items() if item in items}


def _different(states: list[State]) -> list[State]:
    """Each once."""
    unique = {tuple(sorted(state.items())): state for state in states}
    assert len(unique) <= POSSIBLE_MAX, "a program with too many ways to end"
    return list(unique.values())
