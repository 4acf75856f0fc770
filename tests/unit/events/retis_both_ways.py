"""Reading Retis' files as arrays and line by line, to compare."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
from retis_samples import STARTUP

from fyke.errors import InputError
from fyke.events.retis.lines import blocks
from fyke.events.retis.read import RetisPart

NEVER = 1 << 60  # events of one shape
FEW = ("kernel", "journey")  # for whoever asks for these columns alone: damage is damage in the others, too
Result = tuple[pa.Table, str, dict[str, int]]


def read(path: Path, least: int, columns: tuple[str, ...] | None = None) -> Result:
    batches, problem = [], ""
    with open(path, "rb") as file:
        part = RetisPart(str(path), file, columns, least=least)
        try:
            for batch in part.batches():
                batch.validate(full=True)
                batches.append(batch)
        except InputError as error:
            problem = error.message
    return pa.Table.from_batches(batches, part.schema), problem, dict(part.unknown_sections)


def taken(path: Path) -> tuple[int, int]:
    """Return how many lines of a file the fast way took, and how many it left."""
    with open(path, "rb") as file:
        part = RetisPart(str(path), file, least=1)
        found = [part._fast.read(block).lines for block in blocks(file, 2)]
    lines = [bool(line) for lines in found for line in lines]
    return sum(lines), len(lines) - sum(lines)


def same(path: Path) -> Result:
    fast, exact = read(path, 1), read(path, NEVER)
    assert fast[1:] == exact[1:]
    assert fast[0].equals(exact[0])
    return fast


def same_of_few(path: Path, whole: Result) -> None:
    few = read(path, 1, FEW)
    assert few[1:] == whole[1:]
    assert few[0].select(["timestamp_ns", *FEW]).equals(whole[0].select(["timestamp_ns", *FEW]))


def write(path: Path, lines: list[bytes]) -> None:
    path.write_bytes(b"".join(line + b"\n" for line in [json.dumps(STARTUP).encode(), *lines]))
