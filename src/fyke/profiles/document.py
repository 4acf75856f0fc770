"""The YAML of a profile file as plain nodes that know their line, within bounds: files may be hostile."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from fyke.errors import UsageError
from fyke.events.escape import printable

# A file of Retis has a kilobyte, and four levels. YAML is read at 100 KB/s.
MAX_BYTES = 64 << 10
MAX_DEPTH = 12
MAX_NODES = 10_000  # after aliases took the place of what they stand for

_STANDARD = "tag:yaml.org,2002:"
_SCALARS = frozenset(
    _STANDARD + name for name in ("str", "int", "float", "bool", "null", "timestamp", "merge", "value")
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a file something stands, for errors."""

    path: str
    line: int

    def __str__(self) -> str:
        return f"{printable(self.path)}:{self.line}"


@dataclass(slots=True)
class Node:
    """A value: `text` of a scalar (None for null), `items` of a list or `fields` of a mapping.

    Scalars are as written: `1.0` stays "1.0", and `on` is no truth value. The place of a field is its key's.
    """

    place: Place
    text: str | None = None
    items: list[Node] | None = None
    fields: dict[str, Node] | None = field(default=None)

    @property
    def is_null(self) -> bool:
        """Whether nothing is there."""
        return self.text is None and self.items is None and self.fields is None

    @property
    def kind(self) -> str:
        """What it is, in words."""
        if self.items is not None:
            return "a list"
        if self.fields is not None:
            return "a mapping"
        return "nothing" if self.text is None else f"{self.text[:40]!r}"


class _Loader(yaml.SafeLoader):  # type: ignore[misc]  # untyped
    """PyYAML's, which stops where nesting is too deep: it calls itself for each level."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            mark = self.peek_event().start_mark
            raise yaml.MarkedYAMLError(None, None, f"nested more than {MAX_DEPTH} deep", mark)
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


def documents(raw: bytes, path: str) -> list[Node]:
    """Return the documents of a file that aren't empty. Raises UsageError, with the line."""
    if len(raw) > MAX_BYTES:
        raise UsageError(f"{printable(path)} is no profile: it is larger than {MAX_BYTES >> 10} KiB")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        place = Place(path, raw.count(b"\n", 0, error.start) + 1)
        raise UsageError(f"{place}: this is no UTF-8 text") from error
    try:
        loader = _Loader(text)
        try:
            found = []
            while loader.check_node():
                found.append(loader.get_node())
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise _explained(error, text, path) from error
    nodes = _Copier(path)
    return [node for node in map(nodes.copy, found) if not node.is_null]


def _explained(error: yaml.YAMLError, text: str, path: str) -> UsageError:
    line, problem = 1, "this is no YAML"
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        problem = " ".join(part for part in (error.context, error.problem) if part)
    elif isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        problem = f"the character {chr(error.character)!r} is not allowed"
    return UsageError(f"{Place(path, line)}: {printable(problem)}")


class _Copier:
    """Turns PyYAML's nodes into ours, aliases into copies of what they stand for."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._left = MAX_NODES

    def copy(self, node: yaml.Node, line: int | None = None, depth: int = 0) -> Node:
        """Return our node. line: of its key, if it has one. Raises UsageError."""
        place = Place(self._path, line or node.start_mark.line + 1)
        self._left -= 1
        if self._left < 0 or depth > MAX_DEPTH:  # an alias may stand for what it is part of
            raise UsageError(f"{place}: too much is here, with all aliases followed")
        if isinstance(node, yaml.ScalarNode) and node.tag in _SCALARS:
            return Node(place, text=None if node.tag == _STANDARD + "null" else node.value)
        if isinstance(node, yaml.SequenceNode) and node.tag == _STANDARD + "seq":
            return Node(place, items=[self.copy(item, None, depth + 1) for item in node.value])
        if isinstance(node, yaml.MappingNode) and node.tag == _STANDARD + "map":
            return Node(place, fields=dict(self._fields(node, depth)))
        raise UsageError(f"{place}: the YAML tag {node.tag!r} has no place in a profile")

    def _fields(self, node: yaml.MappingNode, depth: int) -> Iterator[tuple[str, Node]]:
        seen: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise UsageError(f"{Place(self._path, line)}: a key must be a name")
            name = key.value
            if name in seen:
                raise UsageError(
                    f"{Place(self._path, line)}: the key {name!r} is given twice, first in line {seen[name]}"
                )
            seen[name] = line
            yield name, self.copy(value, line, depth + 1)
