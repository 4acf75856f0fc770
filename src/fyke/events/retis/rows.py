"""One event of Retis' JSON -> one row of ours, by section and column; counts what we have no column for."""

from __future__ import annotations

import base64
import binascii
from collections import Counter
from functools import cache
from typing import Any

from fyke.events.escape import name_from_bytes
from fyke.events.retis.mapping import BYTES, COMMON_KEYS, HANDLED, MAPPED, NAMES, OWN, Mapped
from fyke.events.schema import sections

_TOP = HANDLED | {m.path[0] for m in MAPPED}
_SKB = frozenset(m.path[1] for m in MAPPED if m.path[0] == "skb")

Row = dict[str, Any]


class BadEvent(ValueError):
    """An event isn't as it should be; str() says what is wrong with it."""


def row_of(event: Any, unknown: Counter[str]) -> Row:
    """Return the row for an event, in plain Python values whose types are not checked yet (Arrow does that).

    unknown: grows by what has no column here. Raises BadEvent.
    """
    if not isinstance(event, dict):
        raise BadEvent("an event is not a JSON object")
    common = _object(event.get("common"), "common")
    if type(common.get("timestamp")) is not int:
        raise BadEvent("common.timestamp is not a whole number")
    row: Row = {"timestamp_ns": common["timestamp"], "cpu": common.get("smp_id")}
    for mapped in MAPPED:
        section = _find(event, mapped.path)
        if section is not None:
            row[mapped.section] = _section(mapped, section, unknown)
    if OWN in event:
        _overlay(row, _object(event[OWN], OWN), unknown)
    _count_unknown(event, unknown)
    return row


def _find(event: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any] | None:
    node: Any = event
    for i, key in enumerate(path):
        node = node.get(key)
        if node is None:
            return None
        _object(node, ".".join(path[: i + 1]))
    return node  # type: ignore[no-any-return]


def _object(node: Any, name: str) -> dict[str, Any]:
    if not isinstance(node, dict):
        raise BadEvent(f"{name} is not a JSON object")
    return node


def _section(mapped: Mapped, found: dict[str, Any], unknown: Counter[str]) -> Row:
    values = {column: _value(mapped.section, column, found.get(key)) for key, column in mapped.keys}
    if len(found) > len(values) or not found.keys() <= {key for key, _ in mapped.keys}:
        for key in found.keys() - {key for key, _ in mapped.keys}:
            unknown["/".join((*mapped.path, key))] += 1
    return values


def _value(section: str, column: str, value: Any) -> Any:
    """Return a value as our columns have it, checked where Arrow would take something else for it."""
    if value is None:
        return None
    if (section, column) in NAMES:
        if not isinstance(value, str):
            raise BadEvent(f"{section}.{column} is not a string")
        return name_from_bytes(value.encode())
    return _own_value(section, column, value)


def _own_value(section: str, column: str, value: Any) -> Any:
    if (section, column) in BYTES:
        try:
            return base64.b64decode(value.encode("ascii"), validate=True)
        except (AttributeError, ValueError, binascii.Error) as error:
            raise BadEvent(f"{section}.{column} is not base64") from error
    if (section, column) in _lists():
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise BadEvent(f"{section}.{column} is not a list of strings")
    elif isinstance(value, (list, dict)):
        raise BadEvent(f"{section}.{column} is not a single value")
    return value


def _overlay(row: Row, own: dict[str, Any], unknown: Counter[str]) -> None:
    """Put the columns of an event's `fyke` object over those of Retis' sections."""
    for section, values in own.items():
        columns = _columns().get(section)
        if columns is None:
            unknown[f"{OWN}/{section}"] += 1
            continue
        if values is None:  # said to be null, where it would be derived otherwise
            row[section] = None
            continue
        target = row.setdefault(section, {})
        for column, value in _object(values, f"{OWN}.{section}").items():
            if column in columns:
                target[column] = None if value is None else _own_value(section, column, value)
            else:
                unknown[f"{OWN}/{section}/{column}"] += 1


def _count_unknown(event: dict[str, Any], unknown: Counter[str]) -> None:
    if not event.keys() <= _TOP:
        unknown.update(event.keys() - _TOP)
    if not event["common"].keys() <= COMMON_KEYS:
        unknown.update(f"common/{key}" for key in event["common"].keys() - COMMON_KEYS)
    skb = event.get("skb")
    if skb and not skb.keys() <= _SKB:
        unknown.update(f"skb/{key}" for key in skb.keys() - _SKB)


@cache
def _columns() -> dict[str, frozenset[str]]:
    return {section.name: frozenset(c.name for c in section.columns) for section in sections()}


@cache
def _lists() -> frozenset[tuple[str, str]]:
    return frozenset((s.name, c.name) for s in sections() for c in s.columns if c.type.startswith("list<"))
