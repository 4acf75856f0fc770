"""The JSON Schema of an event in Retis' JSON form, as fyke reads and writes it (`fyke schema`).

Made from the table of what goes where (`fyke.events.retis.mapping`) and the columns (`fyke.events.schema`).
Sections that only Retis has are allowed, and so is what later versions add.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fyke.events.column import Column, Section
from fyke.events.retis import connections
from fyke.events.retis.mapping import BYTES, MAPPED, OWN, Mapped
from fyke.events.schema import sections

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
TITLE = "Retis Metadata"  # what tools that take Retis' schema look for
_BASE64 = "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"


def event_schema() -> Schema:
    """Return the schema of one event: of a line of an unsorted file, of an item of a line of a sorted one."""
    event = _object("One event, as it is in a line of a file.", {"common": _common()}, ["common"])
    for mapped in MAPPED:
        _place(event, mapped)
    event["properties"][connections.CT] = _connections()
    own = {section.name: _own(section) for section in sections()}
    event["properties"] |= {
        "tracking": _tracking(),
        "startup": _startup(),
        OWN: _object("What Retis' sections can't hold, by the names of docs/columns.md.", own),
    }
    return {"$schema": DIALECT, "title": TITLE, **event}


def _common() -> Schema:
    properties = {
        "timestamp": _integer("uint64", "When the probe was hit, on the kernel's monotonic clock, in ns."),
        "smp_id": _integer("uint32", "The CPU it ran on."),
    }
    return _object("What every event has.", properties, ["timestamp"])


def _place(event: Schema, mapped: Mapped) -> None:
    """Put the schema of a section where the section is."""
    *above, name = mapped.path
    node = event
    for key in above:
        node = node["properties"].setdefault(key, _object("The skb itself." if key == "skb" else "", {}))
    section = next(s for s in sections() if s.name == mapped.section)
    columns = {c.name: c for c in section.columns}
    properties = {key: _value(mapped.section, columns[column]) for key, column in mapped.keys}
    required = [key for key, _ in mapped.keys if key not in mapped.optional]
    node["properties"][name] = _object(section.doc, properties, required)


def _connections() -> Schema:
    """Return the schema of Retis' nested section of connections."""
    ours = next(s for s in sections() if s.name == connections.CT)
    columns = {c.name: c for c in ours.columns}

    def values(pairs: Iterable[tuple[str, str]]) -> Schema:
        return {key: _value(ours.name, columns[column]) for key, column in pairs}

    def side(way: str) -> Schema:
        protocols = {
            name: _object(
                "", values((key, f"{way}_{column}") for key, column in fields), [k for k, _ in fields]
            )
            for name, fields in connections.FIELDS.items()
        }
        version = {"type": "string", "enum": list(connections.VERSIONS)}
        ip = {**values((end, f"{way}_{end}") for end in ("src", "dst")), connections.VERSION: version}
        parts = {
            "ip": _object("Addresses.", ip, list(ip)),
            "proto": {**_object("One protocol.", protocols), "minProperties": 1, "maxProperties": 1},
        }
        return _object("A tuple.", parts, list(parts))

    labels = _object("Labels.", values(connections.LABELS), [key for key, _ in connections.LABELS])
    own = {way: side(way) for way in connections.SIDES} | values(connections.PLAIN) | {"labels": labels}
    needed = [*connections.SIDES, *(key for key, _ in connections.PLAIN if key not in connections.OPTIONAL)]
    parent = {**_object("The connection that it belongs to.", own, needed), "type": ["object", "null"]}
    return _object(
        ours.doc, {"state": _value(ours.name, columns["state"]), **own, "parent": parent}, ["state", *needed]
    )


def _own(section: Section) -> Schema:
    properties = {c.name: _value(section.name, c, nullable=True) for c in section.columns}
    made = _object(section.doc, properties)
    return {**made, "type": ["object", "null"]}


def _tracking() -> Schema:
    mapped = next(m for m in MAPPED if m.section == "skb_tracking")
    section = next(s for s in sections() if s.name == "skb_tracking")
    columns = {c.name: c for c in section.columns}
    skb = _object(
        "The packet.",
        {key: _value("skb_tracking", columns[column]) for key, column in mapped.keys},
        [key for key, _ in mapped.keys],
    )
    index = _integer("uint32", "The place of the event in the journey of its packet, from 0.")
    return _object(
        "In sorted files: which journey it belongs to.", {"skb": skb, "idx": index}, ["skb", "idx"]
    )


def _startup() -> Schema:
    text = {"type": "string"}
    clock = _object(
        "What to add to a timestamp to get the time since the Unix epoch.",
        {"sec": {"type": "integer"}, "nsec": {"type": "integer"}},
        ["sec", "nsec"],
    )
    names = ("kernel_release", "kernel_version", "hardware_name")
    machine = _object("The machine, as uname(2) tells.", dict.fromkeys(names, text))
    policy = _object(
        "When a new file is begun.", {"kind": text, "limit": _integer("uint64", "Bytes of a file.")}
    )
    split = _object(
        "Which of several files this is.", {"id": _integer("uint32", "From 0."), "policy": policy}, ["id"]
    )
    properties = {
        "retis_version": {"type": "string", "description": "The version of Retis whose format this is."},
        "cmdline": {"type": "string", "description": "The command line of the collection."},
        "clock_monotonic_offset": clock,
        "machine": machine,
        "split_file": {**split, "type": ["object", "null"]},
        OWN: {"type": "object", "description": "The facts of a collection of fyke's."},
    }
    return _object(
        "In the first event of a file: the facts of the collection.", properties, ["retis_version"]
    )


def _value(section: str, column: Column, *, nullable: bool = False) -> Schema:
    made = _typed(section, column)
    doc = column.doc + (f", in {column.unit}" if column.unit else "")
    if nullable:
        made["type"] = [made["type"], "null"]
    return {**made, "description": doc}


def _typed(section: str, column: Column) -> Schema:
    if (section, column.name) in BYTES:
        return {"type": "string", "contentEncoding": "base64", "pattern": _BASE64}
    if column.type == "list<string>":
        return {"type": "array", "items": {"type": "string"}}
    if column.type == "bool":
        return {"type": "boolean"}
    if column.type == "string":
        return {"type": "string"}
    return _integer(column.type)


def _integer(kind: str, doc: str = "") -> Schema:
    """Return the schema of an integer of a type such as `uint64` or `int32`."""
    bits = int(kind.removeprefix("u").removeprefix("int"))
    low, high = (0, 2**bits - 1) if kind.startswith("u") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    made: Schema = {"type": "integer", "format": kind, "minimum": low, "maximum": high}
    return {**made, "description": doc} if doc else made


def _object(doc: str, properties: Schema, required: list[str] | None = None) -> Schema:
    made: Schema = {"type": "object"}
    if doc:
        made["description"] = doc
    made["properties"] = properties
    if required:
        made["required"] = required
    return made
