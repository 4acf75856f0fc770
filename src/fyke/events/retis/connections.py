"""Retis' section `ct`, which is nested by protocol and family, and the columns of our ct and ct_parent.

Which protocol and family it is is part of its shape, not a value: numbers that follow from a key are `Known`.
"""

from __future__ import annotations

from typing import Any

from fyke.events.retis.bad_event import BadEvent

Json = dict[str, Any]
CT, PARENT = "ct", "ct_parent"
VERSION = "version"  # the key of the family; its value is `v4` or `v6`
VERSIONS = ("v4", "v6")
_STATES = ("established", "related", "new", "reply", "related_reply", "untracked")
_DIRECTIONS = ("Original", "Reply", "Default", "None")
SIDES = ("orig", "reply")

# Retis' key of a protocol -> what it has, as (Retis' key, the end of our column's name)
_PORTS = (("sport", "sport"), ("dport", "dport"))
FIELDS = {
    "tcp": _PORTS,
    "udp": _PORTS,
    "icmp": (("code", "icmp_code"), ("type", "icmp_type"), ("id", "icmp_id")),
    "sctp": (*_PORTS, ("vtag", "vtag")),
}
_ICMP, _ICMPV6 = 1, 58
_KEYS = {6: "tcp", 17: "udp", _ICMP: "icmp", _ICMPV6: "icmp", 132: "sctp"}
_NUMBERS = {"tcp": 6, "udp": 17, "sctp": 132}
PLAIN = (
    ("zone_id", "zone_id"),
    ("zone_dir", "zone_dir"),
    ("proto_state", "proto_state"),
    ("mark", "mark"),
    ("ct_status", "status"),
)
OPTIONAL = frozenset({"proto_state", "mark"})
_ORDER = ("zone_id", "zone_dir", *SIDES, "proto_state", "mark", "labels", "ct_status")  # as Retis writes them
LABELS = (("hi", "labels_high"), ("lo", "labels_low"))


class Known(int):
    """A number that a key stands for."""


def columns_of(found: Any) -> tuple[Json, Json | None]:
    """Return the columns of ct and ct_parent. Raises BadEvent."""
    connection = _object(found, CT)
    parent = connection.get("parent")
    values = {"state": connection.get("state"), **_connection(connection, CT)}
    if parent is None:
        return values, None
    parent = _object(parent, "ct.parent")
    return values, _connection(parent, "ct.parent")


def known() -> Json:
    """Return the keys that are read, as a tree; None for those all of which is known."""
    fields = {protocol: dict.fromkeys(name for name, _ in pairs) for protocol, pairs in FIELDS.items()}
    side = {"ip": dict.fromkeys(("src", "dst", VERSION)), "proto": fields}
    own = {**dict.fromkeys(key for key, _ in PLAIN), **dict.fromkeys(SIDES, side)}
    own["labels"] = dict.fromkeys(key for key, _ in LABELS)
    return {"state": None, **own, "parent": own}


def section_of(values: Json, parent: Json | None) -> tuple[Json | None, Json, Json | None]:
    """Return Retis' section, None when it can't hold this, and the columns that it doesn't hold.

    values, parent: the columns of ct and ct_parent that aren't null.
    """
    left, left_parent = dict(values), None if parent is None else dict(parent)
    state = left.pop("state", None)
    section = _nested(left) if state in _STATES else None
    if section is None:
        return None, values, parent
    section = {"state": state, **section}
    if left_parent is not None:
        inner = _nested(left_parent)
        if inner is None:
            return section, left, parent
        section["parent"] = inner
    return section, left, left_parent


def is_version_6(address: str) -> bool:
    """Say which family an address is of, or what stands for one."""
    return ":" in address


def _connection(found: Json, where: str) -> Json:
    values: Json = {column: found.get(key) for key, column in PLAIN}
    labels = found.get("labels")
    if labels is not None:
        values |= {column: _object(labels, f"{where}.labels").get(key) for key, column in LABELS}
    protocols = set()
    for side in SIDES:
        end = _object(found.get(side), f"{where}.{side}")
        address = _object(end.get("ip"), f"{where}.{side}.ip")
        version = address.get(VERSION)
        if version not in VERSIONS:
            raise BadEvent(f"{where}.{side}.ip.version is neither v4 nor v6")
        values |= {f"{side}_src": address.get("src"), f"{side}_dst": address.get("dst")}
        protocol = _object(end.get("proto"), f"{where}.{side}.proto")
        if len(protocol) != 1 or (key := next(iter(protocol))) not in FIELDS:
            raise BadEvent(f"{where}.{side}.proto is none of {', '.join(FIELDS)}")
        fields = _object(protocol[key], f"{where}.{side}.proto.{key}")
        values |= {f"{side}_{column}": fields.get(name) for name, column in FIELDS[key]}
        protocols.add(_NUMBERS.get(key, _ICMP if version == "v4" else _ICMPV6))
    if len(protocols) != 1:
        raise BadEvent(f"{where} has two protocols")
    values["protocol"] = Known(protocols.pop())
    return values


def _nested(left: Json) -> Json | None:
    """Return a connection as Retis has it, and take from `left` what it holds; None when it can't be."""
    key = _KEYS.get(left.get("protocol", -1))
    found = [left.get(f"{side}_{end}") for side in SIDES for end in ("src", "dst")]
    addresses: list[str] = [address for address in found if address is not None]
    if key is None or len(addresses) < len(found):
        return None
    version_6 = is_version_6(addresses[0])
    if any(is_version_6(address) != version_6 for address in addresses):
        return None
    if key == "icmp" and version_6 != (left["protocol"] == _ICMPV6):
        return None
    made: Json = {}
    taken = ["protocol"]
    for side in SIDES:
        ip = {"src": left[f"{side}_src"], "dst": left[f"{side}_dst"], VERSION: VERSIONS[version_6]}
        fields = {name: left.get(f"{side}_{column}") for name, column in FIELDS[key]}
        if None in fields.values():
            return None
        made[side] = {"ip": ip, "proto": {key: fields}}
        taken += [f"{side}_src", f"{side}_dst", *(f"{side}_{column}" for _, column in FIELDS[key])]
    for name, column in PLAIN:
        value = left.get(column)
        if value is not None:
            made[name] = value
            taken.append(column)
        elif name not in OPTIONAL:
            return None
    if made["zone_dir"] not in _DIRECTIONS:
        return None
    labels = {name: left.get(column) for name, column in LABELS}
    if None not in labels.values():
        made["labels"] = labels
        taken += [column for _, column in LABELS]
    for column in taken:
        del left[column]
    return {key: made[key] for key in _ORDER if key in made}


def _object(node: Any, name: str) -> Json:
    if not isinstance(node, dict):
        raise BadEvent(f"{name} is not a JSON object")
    return node
