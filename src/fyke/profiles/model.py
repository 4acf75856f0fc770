"""A profile, read from a document of its file: variants of each command, their conditions and options."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TypeVar

from fyke.errors import Unsupported, UsageError
from fyke.events.escape import printable
from fyke.profiles.conditions import Condition, Machine, SymbolCondition, VersionCondition
from fyke.profiles.document import Node, Place

_T = TypeVar("_T")

COMMANDS = ("collect", "pcap")
VERSION = (1, 0)
UNNAMED = "Default"


@dataclass(frozen=True, slots=True)
class Argument:
    """An option of a variant. value: None for one that is only named, else its text or texts."""

    key: str
    place: Place
    value: str | tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Variant:
    """The options of a command, for kernels where all conditions hold."""

    name: str
    place: Place
    when: tuple[Condition, ...]
    args: tuple[Argument, ...]

    def why_not(self, machine: Machine) -> str | None:
        """Return the first reason why it isn't for this machine, None when it is."""
        return next((why for condition in self.when if (why := condition.why_not(machine))), None)


@dataclass(frozen=True, slots=True)
class Profile:
    """A profile. variants: command -> the variants in order. odd: what is there and has no meaning."""

    name: str
    about: str
    place: Place
    variants: dict[str, tuple[Variant, ...]]
    odd: tuple[str, ...] = ()

    def variant(self, command: str, machine: Machine) -> Variant:
        """Return the first variant that is for this machine. Raises UsageError, and Unsupported for none."""
        name, variants = printable(self.name), self.variants.get(command, ())
        if not variants:
            there = " and ".join(f"fyke {c}" for c, some in self.variants.items() if some)
            raise UsageError(
                f"the profile {name} has nothing for fyke {command}", f"it is for {there}" if there else ""
            )
        reasons = []
        for variant in variants:
            why = variant.why_not(machine)
            if why is None:
                return variant
            reasons.append(
                f"{printable(variant.name)}: {printable(why)}" if len(variants) > 1 else printable(why)
            )
        raise Unsupported(
            f"the profile {name} has nothing for this machine: {'; '.join(reasons)}",
            f"`fyke profile show {name}` says what it needs",
        )


def read_profile(node: Node) -> Profile:
    """Return the profile of a document. Raises UsageError, which names file, line and key."""
    odd: list[str] = []
    top = _mapping(node, "a profile", ("version", "name", "about", *COMMANDS), odd)
    _check_version(_needed(top, "version", node, _text), odd)
    place, name = _needed(top, "name", node, _text)
    if not name.strip():
        raise UsageError(f"{place}: name: it is empty")
    about = top.get("about")
    variants = {
        command: tuple(_variant(item, odd) for item in _list(top[command], command))
        for command in COMMANDS
        if command in top
    }
    return Profile(
        name,
        "" if about is None or about.is_null else _text(about, "about"),
        node.place,
        variants,
        tuple(odd),
    )


def _check_version(found: tuple[Place, str], odd: list[str]) -> None:
    place, text = found
    major, dot, minor = text.partition(".")
    if not (dot and all(part.isascii() and part.isdigit() and len(part) < 10 for part in (major, minor))):
        raise UsageError(f"{place}: version: {text[:40]!r} is not like 1.0")
    ours = ".".join(map(str, VERSION))
    if int(major) != VERSION[0]:
        raise UsageError(
            f"{place}: version: {text} is another format of profiles than {ours}, the one known here"
        )
    if int(minor) > VERSION[1]:
        odd.append(f"{place}: version: {text} is newer than {ours}: some of it may have no effect")


def _variant(node: Node, odd: list[str]) -> Variant:
    fields = _mapping(node, "a variant", ("name", "when", "args"), odd)
    name = UNNAMED if "name" not in fields else _text(fields["name"], "name")
    when = _list(fields["when"], "when") if "when" in fields else []
    if "args" not in fields:
        raise UsageError(f"{node.place}: args: it is missing", "a variant has args, the options to be set")
    args = fields["args"]
    if args.is_null:
        named: dict[str, Node] = {}
    elif args.fields is None:
        raise UsageError(f"{args.place}: args: {args.kind} is no mapping of options to values")
    else:
        named = args.fields
    return Variant(
        name,
        node.place,
        tuple(_condition(one, odd) for one in when),
        tuple(_argument(key, value) for key, value in named.items()),
    )


def _argument(key: str, node: Node) -> Argument:
    if node.fields is not None:
        raise UsageError(f"{node.place}: {printable(key)}: a mapping is no value of an option")
    if node.items is None:
        return Argument(key, node.place, node.text)
    for item in node.items:
        if item.text is None:
            raise UsageError(f"{item.place}: {printable(key)}: {item.kind} is no value of an option")
    return Argument(key, node.place, tuple(item.text for item in node.items if item.text is not None))


def _condition(node: Node, odd: list[str]) -> Condition:
    kinds = {"version": ("version",), "symbol": ("name", "exists")}
    if node.fields is None:
        raise UsageError(
            f"{node.place}: when: {node.kind} is no condition", "write {type: symbol, name: ip_rcv}"
        )
    place, kind = _needed(node.fields, "type", node, _text)
    if kind not in kinds:
        raise UsageError(f"{place}: type: there is no condition {kind[:40]!r}", f"types: {', '.join(kinds)}")
    fields = _mapping(node, "a condition", ("type", *kinds[kind]), odd)
    if kind == "version":
        place, text = _needed(fields, "version", node, _text)
        condition = VersionCondition.parse(text)
        if condition is None:
            raise UsageError(
                f"{place}: version: {text[:40]!r} compares with no version", "write e.g. '>= 5.14, < 6.2'"
            )
        return condition
    _, name = _needed(fields, "name", node, _text)
    return SymbolCondition(name, _truth(fields["exists"]) if "exists" in fields else True)


def _truth(node: Node) -> bool:
    if node.text is not None and node.text.lower() in ("true", "false"):
        return node.text.lower() == "true"
    raise UsageError(f"{node.place}: exists: {node.kind} is neither true nor false")


def _mapping(node: Node, what: str, known: tuple[str, ...], odd: list[str]) -> dict[str, Node]:
    """Return the fields of a mapping; those that nobody knows go to `odd`, as Retis ignores them."""
    if node.fields is None:
        raise UsageError(
            f"{node.place}: {node.kind} is no mapping, as {what} is", f"its keys: {', '.join(known)}"
        )
    for key, value in node.fields.items():
        if key not in known:
            close = get_close_matches(key, known, 1)
            meant = f"; did you mean {close[0]}?" if close else ""
            odd.append(f"{value.place}: {printable(key)}: {what} has no such key, it has no effect{meant}")
    return node.fields


def _needed(
    fields: dict[str, Node], key: str, within: Node, take: Callable[[Node, str], _T]
) -> tuple[Place, _T]:
    if key not in fields:
        raise UsageError(f"{within.place}: {key}: it is missing")
    return fields[key].place, take(fields[key], key)


def _text(node: Node, key: str) -> str:
    if node.text is None:
        raise UsageError(f"{node.place}: {key}: {node.kind} is no text")
    return node.text


def _list(node: Node, key: str) -> list[Node]:
    if node.is_null:
        return []
    if node.items is None:
        raise UsageError(f"{node.place}: {key}: {node.kind} is no list", "each of its items begins with `- `")
    return node.items
