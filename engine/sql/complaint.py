"""What the writer of a statement is told: the reason, the line, a caret below the spot.

line 1: expected PARALLEL, PARAMETERS, WITH or the end of the statement, got PARALEL
        (did you mean PARALLEL?)          <- on the first line as well
  ALTER INDEX cities_ivf REBUILD ONLINE PARALEL 2
                                        ^
"""

import difflib
import re
from collections.abc import Iterable

from .errors import StatementError

PLAIN_WORDS = {
    "NAME": "a name",
    "QUOTED": "a name",
    "NUMBER": "a whole number",
    "LPAR": "'('",
    "RPAR": "')'",
    "COMMA": "','",
    "SEMICOLON": "the end of the statement",
    "$END": "the end of the statement",
}
"""How to say what the grammar calls by these names; keywords are their own name."""

WORD = re.compile(r'"[^"\n]*"?|\w+|\S')
CLOSE_ENOUGH = 0.7


def complaint(text: str, position: int, reason: str) -> StatementError:
    """The error that says why, and shows where."""
    line_number = text.count("\n", 0, position) + 1
    start = text.rfind("\n", 0, position) + 1
    line = text[start:].partition("\n")[0]
    indent = re.sub(r"[^\t]", " ", line[: position - start])
    return StatementError(f"line {line_number}: {reason}\n  {line}\n  {indent}^")


def expectation(text: str, position: int, terminals: Iterable[str]) -> StatementError:
    """The error for a word that may not stand where it stands."""
    found = WORD.match(text, position)
    got = found[0] if found else "the end of the statement"
    keywords = sorted(each for each in terminals if each not in PLAIN_WORDS)
    others = sorted({PLAIN_WORDS[each] for each in terminals if each in PLAIN_WORDS})
    near = difflib.get_close_matches(got.upper(), keywords, n=1, cutoff=CLOSE_ENOUGH)
    hint = f" (did you mean {near[0]}?)" if near else ""
    return complaint(text, position, f"expected {one_of(keywords + others)}, got {got}{hint}")


def one_of(words: list[str]) -> str:
    """`A, B or C`."""
    return " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
