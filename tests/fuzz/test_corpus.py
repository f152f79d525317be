"""The corpus: what failed once is kept, once, and can be tried again."""

from pathlib import Path

from fuzz import corpus
from fuzz.campaigns import CAMPAIGNS


def test_what_failed_is_kept_once(tmp_path: Path) -> None:
    """A new defect is added with its words in one line; a known case stays as it is."""
    file = tmp_path / "corpus.txt"
    file.write_text("one 7: row 3 is torn\n", "utf-8")

    corpus.keep(["one 7: row 4 is torn", "two 1 2: Traceback:\n  a line"], file)

    assert file.read_text("utf-8") == "one 7: row 3 is torn\ntwo 1 2: Traceback: a line\n"
    assert corpus.cases(["two"], file) == ["two 1 2"]


def test_every_kept_case_has_its_campaign() -> None:
    """A campaign that is gone or renamed does not leave its cases behind untried."""
    kept = corpus.FILE.read_text("utf-8").splitlines()
    assert len(corpus.cases(CAMPAIGNS)) == len(kept) > 0
