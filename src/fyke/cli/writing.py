"""Which kind of file an output name asks for, its writer, and which names can't be written to."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from fyke.errors import UsageError
from fyke.events.facts import Facts
from fyke.events.output import STDOUT

if TYPE_CHECKING:
    import pyarrow as pa

    from fyke.events.reader import EventSource
    from fyke.events.retis.texts import Texts
    from fyke.events.retis.write import RetisWriter
    from fyke.events.store import EventWriter

_TEXT = ("json", "csv", "perfetto")
RETIS_SUFFIXES = (".json", ".jsonl", ".data")


def output_format(path: str, asked: str | None = None) -> str:
    """Return `arrow` or `json` for an output: what was asked for, else what the name says."""
    if asked is not None:
        return asked
    if path.endswith(".parquet"):
        raise UsageError(f"{path}: Parquet can't be written event by event", "name it .arrow, or .json")
    return "json" if path.endswith(RETIS_SUFFIXES) else "arrow"


def refuse_stdout(out: str | None, kind: str, *, printed: bool = False) -> None:
    """Raise UsageError where an output is STDOUT and that can't take it.

    kind: the format. printed: whether text is written to standard output as well.
    """
    if out != STDOUT:
        return
    if printed:
        raise UsageError("--print and -o - both write to standard output", "leave one of them out")
    if kind not in _TEXT and os.isatty(1):
        raise UsageError(
            f"{kind} is no text: a terminal can't show it", "name a file, or pipe it to a program"
        )


def open_writer(
    path: str,
    facts: Facts,
    asked: str | None = None,
    *,
    schema: pa.Schema | None = None,
    limit_bytes: int | None = None,
    compression: str = "zstd-1",
    texts: Texts | None = None,
) -> EventWriter | RetisWriter:
    """Begin an event file. schema: of the file, when it has other columns than ours; compression: of one
    that isn't JSON (see EventWriter); texts: of one that is (see RetisWriter).

    Raises UsageError for a path that can't be written to.
    """
    if output_format(path, asked) == "json":
        from fyke.events.retis.write import RetisWriter

        return RetisWriter(path, facts, limit_bytes=limit_bytes, texts=texts)
    from fyke.events.store import EventWriter

    return EventWriter(path, facts, limit_bytes=limit_bytes, schema=schema, compression=compression)


def refuse_input(out: str, source: EventSource, done: str, hint: str) -> None:
    """Raise UsageError for an output over what is being read. done: what happens to the input (`sorted`)."""
    from fyke.events.rotation import next_path

    for part in source.parts:
        path: str | None = part.path
        while path is not None and os.path.exists(path):
            if _same(path, out):
                raise UsageError(f"{out} is the file to be {done}", hint)
            path = next_path(path)
        if part.follow and _set_of(out) is not None and _set_of(out) == _set_of(part.path):
            raise UsageError(
                f"{out} would be taken for a file of the set {part.path}..",
                "write to a name without a number",
            )


def _same(path: str, out: str) -> bool:
    if out == STDOUT:
        written = os.fstat(1)
        return stat.S_ISREG(written.st_mode) and os.path.samestat(os.stat(path), written)
    return os.path.exists(out) and os.path.samefile(path, out)


def _set_of(path: str) -> str | None:
    """Return what the files of a split set have in common, None for a file that is of none by its name."""
    from fyke.events.rotation import split_number

    if split_number(path) is None:
        return None
    folder, name = os.path.split(path)
    return os.path.join(os.path.realpath(folder), name.rpartition(".")[0])
