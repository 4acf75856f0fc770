"""Writes what type checkers know of events: `python -m fyke.api.stubs src/fyke/api/columns.pyi`."""

from __future__ import annotations

import sys
from pathlib import Path

from fyke.api.sections import class_name
from fyke.events.column import Column
from fyke.events.schema import HEADER, sections

_BEGINNING = """\
# Generated from the schema by `python -m fyke.api.stubs src/fyke/api/columns.pyi`.

from fyke.api.sections import PacketValues, SectionValues
"""
_TYPES = {"string": "str", "binary": "bytes", "bool": "bool", "list<string>": "list[str]"}


def stubs() -> str:
    """Return a class for each section, and one for the attributes of events, as a stub file."""
    parts = [_BEGINNING]
    for section in sections():
        base = "PacketValues" if section.name == "packet" else "SectionValues"
        columns = "".join(_attribute(c.name, _type(c)) for c in section.columns)
        parts.append(f"class {class_name(section.name)}({base}):\n{columns}")
    header = "".join(_attribute(c.name, _type(c)) for c in HEADER)
    header = header.replace("timestamp_ns(self) -> int | None", "timestamp_ns(self) -> int")
    rest = "".join(_attribute(s.name, f"{class_name(s.name)} | None") for s in sections())
    parts.append(f"class EventColumns:\n{header}{rest}")
    return "\n".join(parts)


def _attribute(name: str, kind: str) -> str:
    return f"    @property\n    def {name}(self) -> {kind}: ...\n"


def _type(column: Column) -> str:
    return f"{_TYPES.get(column.type, 'int')} | None"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(stubs(), encoding="utf-8")
