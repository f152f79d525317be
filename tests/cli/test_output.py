"""How results are shown."""

import json

import numpy as np
import pytest

from centroidb.engine.cli import output


def test_json_has_json_types(capsys: pytest.CaptureFixture[str]) -> None:
    """Arrays become lists, what is not a finite number becomes null, the rest its text."""
    record = {"a": np.arange(2), "b": float("nan"), "c": np.float32(0.5), "d": {1: (True, None)}}

    output.show(record, as_json=True)

    assert json.loads(capsys.readouterr().out) == {
        "a": [0, 1],
        "b": None,
        "c": 0.5,
        "d": {"1": [True, None]},
    }


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"),
        (True, "yes"),
        (0.123456789, "0.123457"),
        ("two\nlines", "two lines"),
        ({"name": "Zürich"}, '{"name": "Zürich"}'),
        ("x" * 200, "x" * 97 + "..."),
    ],
)
def test_cells(value: object, shown: str) -> None:
    """A cell is one line of bounded width."""
    assert output.cell(value) == shown


def test_plain_columns(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a terminal a table is columns of text."""
    output.show([{"id": 1, "name": "a"}, {"id": 22, "name": "bb"}], as_json=False)

    assert capsys.readouterr().out == "id  name\n1   a\n22  bb\n"


def test_rich_shows_the_same_cells(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal rich draws the table, with text taken literally."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)

    output.show([{"id": 1, "name": "[bold]a[/bold]"}], as_json=False)

    drawn = capsys.readouterr().out
    assert "[bold]a[/bold]" in drawn
    assert "id" in drawn
    assert drawn != "id  name\n1   [bold]a[/bold]\n"


def test_terminal_without_rich(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal without rich the columns are plain."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setitem(__import__("sys").modules, "rich", None)

    output.show({"rows": 3}, as_json=False)

    assert capsys.readouterr().out == "rows  3\n"
