"""Runs each script of `scripts/` and compares what it says with what stands in it.

A script is blocks of commands, each followed by `---` and the output; lines
that begin with `#` explain. `UPDATE_GOLDEN=1` writes the output found.

Each script runs once as it stands, and once with each upheaval after every command.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from centroidb import Database
from tests.anomalies import upheaval
from tests.anomalies.session import TABLE, Session
from tests.anomalies.upheaval import UPHEAVALS, Upheaval
from tests.support.databases import SMALL, checked_db

SCRIPTS = sorted((Path(__file__).parent / "scripts").glob("*.txt"))
UPDATE = os.environ.get("UPDATE_GOLDEN") == "1"


@dataclass(frozen=True)
class Block:
    """Commands, with the lines that explain them, and the output written below them."""

    lines: list[str]
    expected: list[str]

    def commands(self) -> Iterator[tuple[str, str]]:
        """(session, command) of each line that is no explanation."""
        for line in self.lines:
            if not line.startswith("#"):
                session, _, command = line.partition(": ")
                yield session, command


def blocks_of(text: str) -> list[Block]:
    """The blocks of a script, which empty lines part."""
    found = []
    for part in text.strip().split("\n\n"):
        lines = part.splitlines()
        bar = lines.index("---")
        found.append(Block(lines[:bar], lines[bar + 1 :]))
    return found


async def output_of(
    db: Database, blocks: list[Block], amid: Upheaval | None = None
) -> list[list[str]]:
    """Run all commands, one after the other; what each block says.

    amid: happens after every command.
    """
    await db.create_table(TABLE, dim=2)
    if amid is not None:
        await upheaval.prepare(db, TABLE)
    sessions: dict[str, Session] = {}
    said: list[list[str]] = []
    try:
        for block in blocks:
            said.append([])
            for name, command in block.commands():
                session = sessions.setdefault(name, Session(db))
                said[-1].append(f"{name}: {await session.run(command)}")
                if amid is not None:
                    await upheaval.befall(db, amid)
    finally:
        for session in sessions.values():
            await session.end()
    return said


def script_text(blocks: list[Block], said: list[list[str]]) -> str:
    """The script with this output in it."""
    parts = ["\n".join([*b.lines, "---", *out]) for b, out in zip(blocks, said, strict=True)]
    return "\n\n".join(parts) + "\n"


@pytest.mark.parametrize("script", SCRIPTS, ids=[script.stem for script in SCRIPTS])
async def test_script(script: Path, tmp_path: Path) -> None:
    """Every command of a script says what the script says it does."""
    blocks = blocks_of(script.read_text(encoding="utf-8"))
    async with checked_db(tmp_path / "a.db", limits=SMALL) as db:
        said = await output_of(db, blocks)

    if UPDATE:
        script.write_text(script_text(blocks, said), encoding="utf-8")
    else:
        assert said == [block.expected for block in blocks]


@pytest.mark.parametrize("amid", UPHEAVALS, ids=lambda each: each.__name__)
@pytest.mark.parametrize("script", SCRIPTS, ids=[script.stem for script in SCRIPTS])
async def test_script_amid(script: Path, amid: Upheaval, tmp_path: Path) -> None:
    """The same script says the same while the index under its searches is turned over."""
    blocks = blocks_of(script.read_text(encoding="utf-8"))
    async with checked_db(tmp_path / "a.db", limits=SMALL, durability="relaxed") as db:
        said = await output_of(db, blocks, amid)

    assert [[one_lsn_earlier(line) for line in each] for each in said] == [
        block.expected for block in blocks
    ]


def one_lsn_earlier(said: str) -> str:
    """What was said, without the commit that made the index of the upheavals."""
    return re.sub(r"(\bat|LSN|snapshot) (\d+)", lambda m: f"{m[1]} {int(m[2]) - 1}", said)


def test_every_anomaly_has_its_script() -> None:
    """The anomalies of the literature, and those of an index, each have a script."""
    wanted = {
        *("g0", "g1a", "g1b", "g1c", "otv", "pmp", "p4", "g_single", "g2_item", "g2"),
        *("g2_item_serializable", "g2_serializable", "index_skew", "session"),
    }

    assert wanted <= {script.stem.split("__")[0] for script in SCRIPTS}
