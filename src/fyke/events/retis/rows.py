"""One event of Retis' JSON -> one row of ours, by section and column; counts what we have no column for."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import Any

from fyke.events.escape import name_from_bytes
from fyke.events.retis import connections, left, ovs
from fyke.events.retis.bad_event import BadEvent
from fyke.events.retis.mapping import BYTES, LISTS, MAPPED, NAMES, OWN, Mapped
from fyke.events.schema import sections

Row = dict[str, Any]


def row_of(event: Any, unknown: Counter[str]) -> Row:
    """Return the row for an event, in plain Python values whose types are not checked yet (Arrow does that).

    unknown: grows by what has no column here but the one for all of it. Raises BadEvent.
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
            row[mapped.section] = _section(mapped, section)
    if event.get(connections.CT) is not None:
        values, parent = connections.columns_of(event[connections.CT])
        row |= {connections.CT: values, connections.PARENT: parent}
    _put_ovs(row, event)
    if OWN in event:
        _overlay(row, _object(event[OWN], OWN))
    if rest := left.left_over(event):
        unknown.update(left.names(rest))
        row[left.SECTION] = {left.COLUMN: left.text(rest)}
    return row


def _put_ovs(row: Row, event: dict[str, Any]) -> None:
    if event.get(ovs.OVS) is not None and (found := ovs.columns_of(event[ovs.OVS])):
        section, values = found
        row[section] = values
    if event.get(ovs.DETRACE) is not None:
        row[ovs.OWN_DETRACE] = ovs.detrace_of(event[ovs.DETRACE])


def _find(event: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any] | None:
    node: Any = event
    for key in path:
        node = node.get(key)
        if node is None:
            return None
        if not isinstance(node, dict):
            raise BadEvent(f"{'.'.join(path)} is not a JSON object")
    return node  # type: ignore[no-any-return]


def _object(node: Any, name: str) -> dict[str, Any]:
    if not isinstance(node, dict):
        raise BadEvent(f"{name} is not a JSON object")
    return node


def _section(mapped: Mapped, found: dict[str, Any]) -> Row:
    values = {column: found.get(key) for key, column in mapped.keys}
    for column, convert in _CONVERT.get(mapped.section, ()):
        if values[column] is not None:
            values[column] = convert(values[column], f"{mapped.section}.{column}")
    return values


def _name(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise BadEvent(f"{where} is not a string")
    return name_from_bytes(value.encode())


def _bytes(value: Any, where: str) -> bytes:
    try:
        return base64.b64decode(value.encode("ascii"), validate=True)
    except (AttributeError, ValueError) as error:
        raise BadEvent(f"{where} is not base64") from error


def _strings(value: Any, where: str) -> list[str]:
    """Return a list of strings; Arrow would take a string for a list of its characters."""
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise BadEvent(f"{where} is not a list of strings")
    return value


# What is to be done to a value of Retis' before Arrow takes it, by section and column.
_CONVERT: dict[str, tuple[tuple[str, Callable[[Any, str], Any]], ...]] = {
    m.section: tuple(
        (
            column,
            _name if (m.section, column) in NAMES else _bytes if (m.section, column) in BYTES else _strings,
        )
        for _, column in m.keys
        if (m.section, column) in NAMES | BYTES | LISTS
    )
    for m in MAPPED
}


def _overlay(row: Row, own: dict[str, Any]) -> None:
    """Put the columns of an event's `fyke` object over those of Retis' sections."""
    for section, values in own.items():
        columns = _columns().get(section)
        if columns is None:
            continue
        if values is None:  # said to be null, where it would be derived otherwise
            row[section] = None
            continue
        target = row.get(section)
        if target is None:
            target = row[section] = {}
        for column, value in _object(values, f"{OWN}.{section}").items():
            if column in columns:
                where = (section, column)
                convert = _bytes if where in BYTES else _strings if where in LISTS else None
                target[column] = convert(value, ".".join(where)) if convert and value is not None else value


@cache
def _columns() -> dict[str, frozenset[str]]:
    return {section.name: frozenset(c.name for c in section.columns) for section in sections()}
