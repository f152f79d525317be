"""From the text of one statement to the statement.

    text --grammar.lark--> tree --one reader per field--> Statement

The grammar names its rules after the fields of the statements, so a tree is
read by walking it: every rule below the statement's own gives one field, from
its last token. lark is imported, and the grammar compiled, by the first
statement (it takes about a tenth of a second), not by importing this module.
"""

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, cast

from .complaint import complaint, expectation
from .errors import StatementError
from .statements import (
    AbortRebuild,
    CreateIndex,
    DropIndex,
    ExplainRebuild,
    PauseRebuild,
    RebuildIndex,
    Reorganize,
    ResumeRebuild,
    RollBack,
    SetIndex,
    Statement,
)

if TYPE_CHECKING:
    from lark import Lark, ParseTree, Token

KINDS: dict[str, type[Statement]] = {
    "create_index": CreateIndex,
    "rebuild_index": RebuildIndex,
    "pause_rebuild": PauseRebuild,
    "resume_rebuild": ResumeRebuild,
    "abort_rebuild": AbortRebuild,
    "roll_back": RollBack,
    "reorganize": Reorganize,
    "set_index": SetIndex,
    "explain_rebuild": ExplainRebuild,
    "drop_index": DropIndex,
}
IMPLIED = {"online", "type"}
"""May be written and change nothing: every build is online, every index is IVF."""

METRICS = {"L2": "l2", "EUCLIDEAN": "l2", "COSINE": "cosine", "DOT": "dot"}
ACCURACY_MAX_PERCENT = 100
COUNT_MAX = 2**31 - 1
BYTES_MAX = 2**53
DIGITS_MAX = 18


def parse(text: str) -> Statement:
    """The one statement that the text holds.

    Raises:
        StatementError: The text is no statement; the error shows the line, a caret and what
            was expected.
    """
    if not isinstance(text, str):
        raise StatementError(f"expected the text of a statement, got {type(text).__name__}")
    statement, *rules = tree_of(text).iter_subtrees_topdown()
    fields: dict[str, Any] = {}
    for rule in rules:
        tokens = cast("list[Token]", rule.children)
        if rule.data in fields:
            raise complaint(text, position(tokens[0]), f"{title(tokens)} is given twice")
        fields[rule.data] = value(text, rule.data, tokens)
    return KINDS[statement.data](**{key: fields[key] for key in fields.keys() - IMPLIED})


def tree_of(text: str) -> "ParseTree":
    """The parse tree; an error of lark's becomes what its writer should read."""
    from lark import UnexpectedInput, UnexpectedToken

    steps = grammar().parse_interactive(text)
    end = 0
    try:
        for token in steps.iter_parse():
            end = token.end_pos or end
        tree: ParseTree = steps.feed_eof()
    except UnexpectedInput as error:
        cut_short = isinstance(error, UnexpectedToken) and error.token.type == "$END"
        at = end if cut_short else error.pos_in_stream
        raise expectation(text, at or 0, steps.accepts()) from None
    return tree


@cache
def grammar() -> "Lark":
    """The compiled grammar."""
    from lark import Lark

    source = files(__package__).joinpath("grammar.lark").read_text(encoding="utf-8")
    return Lark(source, parser="lalr")


def value(text: str, field: str, tokens: "list[Token]") -> str | float | bool:
    """What a rule says about the field that it is named after."""
    last = tokens[-1]
    match field:
        case "name" | "table":
            return unquoted(last)
        case "metric":
            return METRICS[last.upper()]
        case "codec" | "centroid_search" | "auto_rebuild":
            return last.lower()
        case "balance":
            return last.upper() == "ON"
        case "target_accuracy":
            return whole_number(text, last, ACCURACY_MAX_PERCENT)
        case "if_exists" | "if_not_exists" | "online" | "type":
            return True
        case _:
            return number_of(text, field, tokens)


def number_of(text: str, field: str, tokens: "list[Token]") -> float:
    """The number in a rule, in the unit that the field has."""
    (number,) = (token for token in tokens if token.type == "NUMBER")
    largest = BYTES_MAX if field == "memory_bytes" else COUNT_MAX
    smallest = 0 if field in ("seed", "keep_previous") else 1
    whole = whole_number(text, number, largest, smallest)
    match tokens[-1].upper():
        case "PERCENT":
            return whole / 100
        case "MINUTES":
            return 60 * whole
        case _:
            return whole


def unquoted(name: str) -> str:
    """A name as it is meant; case is kept with quotes and without."""
    return name[1:-1].replace('""', '"') if name.startswith('"') else str(name)


def whole_number(text: str, token: "Token", largest: int, smallest: int = 1) -> int:
    """The number, from the smallest to the largest allowed."""
    if token.isascii() and token.isdigit() and len(token) <= DIGITS_MAX:
        number = int(token)
        if smallest <= number <= largest:
            return number
    reason = f"expected a whole number from {smallest} to {largest}, got {token}"
    raise complaint(text, position(token), reason)


def position(token: "Token") -> int:
    """Where the token starts in the text."""
    assert token.start_pos is not None
    return token.start_pos


def title(tokens: "list[Token]") -> str:
    """A rule's keywords, without the value that the last token holds."""
    return " ".join(tokens[:-1] or tokens).upper()
