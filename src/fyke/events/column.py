"""How a collector describes what it records: sections made of columns.

A section is one nullable struct column of the event table (Arrow), null where an event has no
such data. Columns name their type by pyarrow's alias so that importing a description costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol


class Names(Protocol):
    """What turns raw kernel values into names while a collection runs (see `fyke.capture.names`)."""

    def enum(self, type_name: str) -> dict[int, str]:
        """Return value -> enumerator of a kernel enum (BTF); empty when the kernel has no such enum."""

    def stack(self, stack_id: int) -> list[str] | None:
        """Return the stack's frames, innermost first, as `symbol+0xoffset`; None when it was not kept."""

    def symbol(self, address: int) -> str:
        """Return `symbol+0xoffset` of a kernel text address."""

    def name(self, number: int) -> str | None:
        """Return the name with a number of core/names.bpf.h; None for 0, and for one that had no room."""

    def nft_rule(self, netns: int, table: int, rule: int) -> str | None:
        """Return a rule as nft lists it: of a namespace (inode number), by handles; None when not known."""


@dataclass(frozen=True, slots=True)
class Column:
    """One value of a section.

    type: a pyarrow type alias (`uint32`, `string`, `binary`, `bool`) or `list<string>`.
    source: the member of the section's C struct it comes from; a column without one is made
    when the file is written or sorted.
    label: turns a distinct raw value into the stored one (a name, a list); None means null.
    may_change: what `label` gives for a value may be another later, so that it is asked again for each batch.
    null_if: raw value that means "not there".
    """

    name: str
    type: str
    doc: str
    unit: str = ""
    source: str = ""
    label: Callable[[Any, Names], Any] | None = None
    null_if: int | None = None
    may_change: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """A group of columns that are there together or not at all.

    name: the Arrow column. struct: the C struct in the BPF object, `section_<name>` when empty
    and `in_kernel` is true.
    """

    name: str
    doc: str
    columns: tuple[Column, ...]
    in_kernel: bool = True
