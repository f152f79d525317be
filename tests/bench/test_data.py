"""The bench's data: how the text is read, and that the truth is the truth."""

from pathlib import Path

import numpy as np
import pytest

from tests.bench import data

LICENCE = "  1 This software and database is being provided to you\n"
NOUN = "00001740 03 n 01 physical_entity 0 000 | that which is; `it is'  \n"
ADVERB = "00001740 02 r 02 a_cappella 0 unaccompanied 1 000 | without musical accompaniment\n"


def test_synsets_are_read(tmp_path: Path) -> None:
    """Every line but the licence is a synset, whose key tells parts of speech apart."""
    for part_of_speech, text in zip(data.PARTS_OF_SPEECH, [NOUN, "", "", ADVERB], strict=True):
        (tmp_path / f"data.{part_of_speech}").write_text(LICENCE + text, encoding="utf-8")

    (first, noun), (second, adverb) = data.read_synsets(tmp_path)

    assert (first, second) == (100_001_740, 400_001_740)
    assert noun == {
        "lemma": "physical entity",
        "part_of_speech": "noun",
        "lexicographer_file": 3,
        "gloss": "that which is; `it is'",
    }
    assert adverb["lemma"] == "a cappella"


def test_nearest_is_brute_force() -> None:
    """The truth equals the float64 brute force, ties to the smaller row."""
    rng = np.random.default_rng(1)
    vectors = rng.integers(-3, 4, (500, 8)).astype(np.float32)
    queries = rng.integers(-3, 4, (9, 8)).astype(np.float32)

    rows, distances = data.nearest(vectors, queries, 10)

    for query, found, apart in zip(queries, rows, distances, strict=True):
        every = np.sqrt(np.square(vectors.astype(np.float64) - query).sum(axis=1))
        assert found.tolist() == np.argsort(every, kind="stable")[:10].tolist()
        assert apart.tolist() == np.sort(every)[:10].tolist()


def test_too_many_ties_are_refused() -> None:
    """Where more rows tie than are looked at again, the truth is refused, not guessed."""
    with pytest.raises(ValueError, match="tie for place 3"):
        data.nearest(np.ones((200, 4), np.float32), np.zeros((1, 4), np.float32), 3)


def test_cache_is_filled_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A set that could not be made leaves nothing; one that was made is not made again."""
    monkeypatch.setenv("CENTROIDB_CACHE", str(tmp_path / "cache"))

    def fail(folder: Path) -> None:
        (folder / "half").touch()
        raise data.MissingError("no network")

    with pytest.raises(data.MissingError, match="no network"):
        data.cached("set", fail)
    assert list((tmp_path / "cache").iterdir()) == []

    made = data.cached("set", lambda folder: (folder / "whole").touch())
    assert data.cached("set", fail) == made
    assert [path.name for path in made.iterdir()] == ["whole"]
