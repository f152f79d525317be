"""The corpus: every case that ever failed, with what it showed; each push tries them all again.

    simulation 180: not the same the second time
    the case        what was found, which is only for people

Whoever runs the fuzzers and finds something finds it here afterwards, to be committed with
what mends it.
"""

from collections.abc import Iterable
from pathlib import Path

FILE = Path(__file__).with_name("corpus.txt")
LINE_MAX = 160


def cases(campaigns: Iterable[str], file: Path = FILE) -> list[str]:
    """The kept cases of these campaigns."""
    names = set(campaigns)
    return [case for case in _lines(file) if case.split()[0] in names]


def keep(found: Iterable[str], file: Path = FILE) -> None:
    """Add what was found, `<case>: <what>`, unless its case is there."""
    known = _lines(file)
    for each in found:
        case, _, what = each.partition(": ")
        if case not in known:
            known[case] = " ".join(what.split())[: LINE_MAX - len(case)]
    file.write_text("".join(f"{case}: {what}\n" for case, what in known.items()), "utf-8")


def _lines(file: Path) -> dict[str, str]:
    """Case -> what it showed."""
    lines = file.read_text("utf-8").splitlines()
    return {case: what for case, _, what in (line.partition(": ") for line in lines)}
