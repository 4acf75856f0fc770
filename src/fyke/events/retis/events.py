"""One row of an event table -> Retis' event: the exact way, whatever the row holds."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from fyke.events.escape import name_from_bytes, name_to_bytes
from fyke.events.retis import connections, left, ovs
from fyke.events.retis.mapping import BYTES, MAPPED, NAMES, OWN, PROBE_TYPES, Mapped

if TYPE_CHECKING:
    import pyarrow as pa

Json = dict[str, Any]


def event_of(row: dict[str, Any]) -> Json:
    """Return Retis' event for a row of an event table (a dict of Python values; null sections left out)."""
    rest = dict(row)
    common: Json = {"timestamp": rest.pop("timestamp_ns")}
    cpu = rest.pop("cpu", None)
    if cpu is not None:
        common["smp_id"] = cpu
    event: Json = {"common": common}
    own: Json = {}
    for mapped in MAPPED:
        values = rest.pop(mapped.section, None)
        if values is None:
            continue
        section, more = _section(mapped, values)
        if section is not None:
            _place(event, mapped.path, section)
        if section is None or more:
            own[mapped.section] = more
    if rest.get(connections.CT) is not None:
        _connections(event, own, rest)
    for name in sorted(ovs.OWN & rest.keys()):
        _put_ovs(event, own, name, _present(rest.pop(name)) or {})
    kept = rest.pop(left.SECTION, None)
    for name, values in rest.items():
        own[name] = _plain(values)
    if own:
        event[OWN] = own
    if kept is not None and not left.put_back(event, kept[left.COLUMN] or ""):
        event.setdefault(OWN, {})[left.SECTION] = _plain(kept)
    return event


def _connections(event: Json, own: Json, rest: Json) -> None:
    """Move the columns of ct and ct_parent to where they belong."""
    names = (connections.CT, connections.PARENT)
    values, parent = (_present(rest.pop(name, None)) for name in names)
    assert values is not None
    section, *others = connections.section_of(values, parent)
    if section is not None:
        event[connections.CT] = section
    for name, columns in zip(names, others, strict=True):
        if columns or (columns is not None and section is None):
            own[name] = columns


def _put_ovs(event: Json, own: Json, name: str, values: Json) -> None:
    """Move the columns of a section of Open vSwitch's to where they belong."""
    key = ovs.DETRACE if name == ovs.OWN_DETRACE else ovs.OVS
    section, more = ovs.detrace_section(values) if key == ovs.DETRACE else ovs.section_of(name, values)
    if section is not None and key not in event:
        event[key] = section
    else:
        section, more = None, values
    if section is None or more:
        own[name] = more


def _present(values: Json | None) -> Json | None:
    return None if values is None else {c: value for c, value in values.items() if value is not None}


def event_in_series(row: dict[str, Any], tracking: Any) -> Json:
    """Return the event for a row of a sorted file. tracking: the section `tracking`, if any."""
    event = event_of(row)
    event.setdefault(OWN, {}).setdefault("journey", None)
    if tracking is not None:
        event["tracking"] = tracking
    return event


def rows_of(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """Return the rows of a batch without their null sections."""
    rows: list[dict[str, Any]] = [{} for _ in range(batch.num_rows)]
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if column.null_count == len(column):
            continue
        for row, value in zip(rows, column.to_pylist(), strict=True):
            if value is not None:
                row[name] = value
    return rows


def name_in_json(name: str) -> str | None:
    """Return a kernel's name as JSON has it, None when JSON can't and it must be kept in our words, too."""
    try:
        text = name_to_bytes(name).decode()
    except UnicodeDecodeError:
        return None
    return text if name_from_bytes(text.encode()) == name else None


def json_text(item: Any) -> str:
    """Return the JSON of what is in an event."""
    return json.dumps(item, ensure_ascii=False, separators=(",", ":"), default=_foreign)


def _section(mapped: Mapped, values: Json) -> tuple[Json | None, Json]:
    """Return Retis' section (None when it can't be made whole), and the columns that it doesn't hold."""
    left = {column: value for column, value in values.items() if value is not None}
    whole = dict(left)
    section: Json = {}
    for key, column in mapped.keys:
        value = left.pop(column, None)
        if value is not None:
            section[key] = _as_retis_has_it(mapped.section, column, value)
        elif key not in mapped.optional:
            return None, whole
    if mapped.section == "kernel" and section["probe_type"] in PROBE_TYPES:
        left["probe_type"] = section["probe_type"]
        section["probe_type"] = PROBE_TYPES[section["probe_type"]]
    for _, column in mapped.keys:
        if (mapped.section, column) in NAMES and name_in_json(whole[column]) is None:
            left[column] = whole[column]
    return section, left


def _as_retis_has_it(section: str, column: str, value: Any) -> Any:
    if (section, column) in NAMES:
        try:
            return name_to_bytes(value).decode()
        except UnicodeDecodeError:
            return value  # has no form in JSON but the escaped one
    if (section, column) in BYTES:
        return base64.b64encode(value).decode()
    return value


def _place(event: Json, path: tuple[str, ...], section: Json) -> None:
    *above, name = path
    node = event
    for key in above:
        node = node.setdefault(key, {})
    node[name] = section


def _plain(values: Any) -> Any:
    """Return values without nulls, for the `fyke` object."""
    if not isinstance(values, dict):
        return values
    return {column: value for column, value in values.items() if value is not None}


def _foreign(value: Any) -> str:
    """Return a value of a column that is not ours in a form that JSON has."""
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)
