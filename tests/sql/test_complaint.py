"""The messages about statements that can not be read, word for word."""

import pytest

from centroidb.engine.sql import StatementError, parse

MESSAGES = {
    "nothing": (
        "",
        "line 1: expected ALTER, CREATE, DROP or EXPLAIN, got the end of the statement\n  \n  ^",
    ),
    "another statement": (
        "SELECT * FROM t",
        """\
line 1: expected ALTER, CREATE, DROP or EXPLAIN, got SELECT
  SELECT * FROM t
  ^""",
    ),
    "keyword misspelt": (
        "ALTER INDEX i REBUILD ONLINE PARALEL 2",
        """\
line 1: expected DISTANCE, KEEP, MAX_DURATION, PARALLEL, PARAMETERS, THROTTLE, WITH or the end \
of the statement, got PARALEL (did you mean PARALLEL?)
  ALTER INDEX i REBUILD ONLINE PARALEL 2
                               ^""",
    ),
    "cut short": (
        "ALTER INDEX i REBUILD -- comment\n",
        """\
line 1: expected ABORT, ONLINE, PAUSE or RESUME, got the end of the statement
  ALTER INDEX i REBUILD -- comment
                       ^""",
    ),
    "second statement": (
        "DROP INDEX a; DROP INDEX b",
        """\
line 1: expected the end of the statement, got DROP
  DROP INDEX a; DROP INDEX b
                ^""",
    ),
    "not a name": (
        "DROP INDEX 3",
        """\
line 1: expected IF or a name, got 3
  DROP INDEX 3
             ^""",
    ),
    "quote not closed": (
        'DROP INDEX "cities',
        """\
line 1: expected IF or a name, got "cities
  DROP INDEX "cities
             ^""",
    ),
    "another column": (
        "CREATE VECTOR INDEX i ON t (embedding) ORGANIZATION NEIGHBOR PARTITIONS",
        """\
line 1: expected VECTOR, got embedding
  CREATE VECTOR INDEX i ON t (embedding) ORGANIZATION NEIGHBOR PARTITIONS
                              ^""",
    ),
    "another organization": (
        "CREATE VECTOR INDEX i ON t (vector) ORGANIZATION INMEMORY NEIGHBOR GRAPH",
        """\
line 1: expected NEIGHBOR or PARTITIONS, got INMEMORY
  CREATE VECTOR INDEX i ON t (vector) ORGANIZATION INMEMORY NEIGHBOR GRAPH
                                                   ^""",
    ),
    "another distance": (
        "CREATE VECTOR INDEX i ON t (vector) ORGANIZATION PARTITIONS DISTANCE HAMMING",
        """\
line 1: expected COSINE, DOT, EUCLIDEAN or L2, got HAMMING
  CREATE VECTOR INDEX i ON t (vector) ORGANIZATION PARTITIONS DISTANCE HAMMING
                                                                       ^""",
    ),
    "a clause that only CREATE has": (
        "ALTER INDEX i REBUILD ONLINE ON t (vector)",
        """\
line 1: expected DISTANCE, KEEP, MAX_DURATION, PARALLEL, PARAMETERS, THROTTLE, WITH or the end \
of the statement, got ON
  ALTER INDEX i REBUILD ONLINE ON t (vector)
                               ^""",
    ),
    "an unknown parameter": (
        "ALTER INDEX i REBUILD ONLINE PARAMETERS (EFCONSTRUCTION 500)",
        """\
line 1: expected BALANCE, CENTROID_SEARCH, CODEC, MEMORY_BYTES, MIN_VECTORS_PER_PARTITION, \
NEIGHBOR, SAMPLES_PER_PARTITION, SEED or TYPE, got EFCONSTRUCTION
  ALTER INDEX i REBUILD ONLINE PARAMETERS (EFCONSTRUCTION 500)
                                           ^""",
    ),
    "parenthesis not closed": (
        "ALTER INDEX i REBUILD ONLINE PARAMETERS (NEIGHBOR PARTITIONS 3",
        """\
line 1: expected ')' or ',', got the end of the statement
  ALTER INDEX i REBUILD ONLINE PARAMETERS (NEIGHBOR PARTITIONS 3
                                                                ^""",
    ),
    "given twice, below tabs": (
        "ALTER INDEX i REBUILD ONLINE\n\tPARAMETERS (TYPE IVF,\n\ttype IVF)",
        "line 3: TYPE is given twice\n  \ttype IVF)\n  \t^",
    ),
    "ONLINE twice": (
        "CREATE VECTOR INDEX i ON t (vector) ORGANIZATION PARTITIONS ONLINE ONLINE",
        """\
line 1: ONLINE is given twice
  CREATE VECTOR INDEX i ON t (vector) ORGANIZATION PARTITIONS ONLINE ONLINE
                                                                     ^""",
    ),
    "no number": (
        "ALTER INDEX i REBUILD ONLINE PARALLEL two",
        """\
line 1: expected a whole number, got two
  ALTER INDEX i REBUILD ONLINE PARALLEL two
                                        ^""",
    ),
    "accuracy out of range": (
        "ALTER INDEX i REBUILD ONLINE WITH TARGET ACCURACY 101",
        """\
line 1: expected a whole number from 1 to 100, got 101
  ALTER INDEX i REBUILD ONLINE WITH TARGET ACCURACY 101
                                                    ^""",
    ),
    "strange character": (
        "DROP INDEX i $",
        """\
line 1: expected the end of the statement, got $
  DROP INDEX i $
               ^""",
    ),
}


@pytest.mark.parametrize(("text", "message"), MESSAGES.values(), ids=MESSAGES.keys())
def test_message(text: str, message: str) -> None:
    """The complaint names the line, what was expected and what came, and points at it."""
    with pytest.raises(StatementError) as caught:
        parse(text)

    assert str(caught.value) == message


@pytest.mark.parametrize("number", ["0", "-1", "2.5", "1e3", "2147483648", "9" * 5000, "٣", "7up"])
def test_numbers_that_are_none(number: str) -> None:
    """A number that is zero, negative, broken, too large or in other digits is refused as it is."""
    with pytest.raises(StatementError, match="expected a whole number from 1 to 2147483647, got"):
        parse(f"ALTER INDEX i REBUILD ONLINE PARALLEL {number}")


def test_only_text_is_a_statement() -> None:
    """What is not text is refused with its type."""
    with pytest.raises(StatementError, match="expected the text of a statement, got bytes"):
        parse(b"DROP INDEX i")  # type: ignore[arg-type]
