"""Retis' sections `ovs`, which is of one of seven types, and `ovs-detrace`, and the columns of our own."""

from __future__ import annotations

from typing import Any, NamedTuple

from fyke.events.ovs import ACTIONS, CT_NAT, ENQUEUE, RETURN, UPCALL, ufid_parts, ufid_text
from fyke.events.retis.bad_event import BadEvent

Json = dict[str, Any]
OVS, DETRACE = "ovs", "ovs-detrace"
TYPE = "event_type"
UPCALLS, LOOKUP, ACTION, RECV, OPERATION = (
    f"ovs_{name}" for name in ("upcall", "lookup", "action", "recv", "operation")
)
OWN_DETRACE = "ovs_detrace"
OWN = frozenset({UPCALLS, LOOKUP, ACTION, RECV, OPERATION, OWN_DETRACE})
_EVENT = "event"  # the column of ovs_upcall that says which of three types it is
_MOST_32 = (1 << 32) - 1


class _Kind(NamedTuple):
    """A type of event. keys: (Retis' key, our column). optional: of Retis' keys."""

    section: str
    keys: tuple[tuple[str, str], ...]
    optional: frozenset[str] = frozenset()


_BATCH = (("queue_id", "queue_id"), ("batch_ts", "batch_timestamp_ns"), ("batch_idx", "batch_index"))
_OF_UPCALL = (("upcall_ts", "upcall_timestamp_ns"), ("upcall_cpu", "upcall_cpu"))
_COUNTS = (("n_mask_hit", "n_mask_hit"), ("n_cache_hit", "n_cache_hit"))
_KINDS = {
    UPCALL: _Kind(UPCALLS, (("cmd", "cmd"), ("port", "port"), ("cpu", "upcall_cpu"))),
    ENQUEUE: _Kind(
        UPCALLS,
        (("ret", "ret"), ("cmd", "cmd"), ("port", "port"), *_OF_UPCALL, ("queue_id", "queue_id")),
    ),
    RETURN: _Kind(UPCALLS, (*_OF_UPCALL, ("ret", "ret"))),
    "recv_upcall": _Kind(
        RECV, (("type", "type"), ("pkt_size", "pkt_size"), ("key_size", "key_size"), *_BATCH)
    ),
    "flow_operation": _Kind(OPERATION, (("op_type", "op_type"), *_BATCH)),
    "flow_lookup": _Kind(LOOKUP, _COUNTS),
    "action_execute": _Kind(
        ACTION, (("recirc_id", "recirc_id"), ("queue_id", "queue_id")), frozenset({"queue_id"})
    ),
}
_TYPES = {kind.section: name for name, kind in _KINDS.items() if kind.section != UPCALLS}
# Of the actions that have any: Retis' key, our column.
_FIELDS = {
    "output": (("port", "port"),),
    "recirc": (("id", "id"),),
    "drop": (("reason", "reason"),),
    "ct": (("flags", "ct_flags"), ("zone_id", "ct_zone")),
}
_NAT = (
    *(("dir", "nat_dir"), ("min_addr", "nat_min_addr"), ("max_addr", "nat_max_addr")),
    *(("min_port", "nat_min_port"), ("max_port", "nat_max_port")),
)
_FLOW = ("flow", "sf_acts", "ufid", "dpflow", "ofpflows")  # of a lookup and of a detrace, nothing is "" or 0
_NO_UFID = [0, 0, 0, 0]
_OPERATIONS = ("exec", "put")  # Retis' library takes no other


def known_of(fields: Any) -> Json:
    """Return the keys of a section `ovs` that are read, as a tree; None for those all of which is known."""
    kind = _KINDS.get(str(fields.get(TYPE))) if isinstance(fields, dict) else None
    if kind is None:
        return {}
    tree: Json = dict.fromkeys((TYPE, *(key for key, _ in kind.keys)))
    if kind.section == LOOKUP:
        tree |= dict.fromkeys(_FLOW)
    if kind.section == ACTION:
        name = fields.get("action")
        tree |= dict.fromkeys(("action", *(key for key, _ in _FIELDS.get(str(name), ()))))
        if name == "ct":
            tree["nat"] = dict.fromkeys(key for key, _ in _NAT)
    return tree


def known_detrace() -> Json:
    """... and of `ovs-detrace`."""
    return dict.fromkeys(_FLOW)


# ---- from Retis


def columns_of(found: Any) -> tuple[str, Json] | None:
    """Return the section of ours and its columns; None for a type that isn't known. Raises BadEvent."""
    fields = _object(found, OVS)
    kind = _KINDS.get(str(fields.get(TYPE)))
    if kind is None:
        return None
    values = {column: fields.get(key) for key, column in kind.keys}
    if kind.section == UPCALLS:
        values[_EVENT] = fields[TYPE]
    elif kind.section == LOOKUP:
        values |= _flow(fields, OVS)
    elif kind.section == ACTION:
        values |= _action(fields)
    return kind.section, values


def detrace_of(found: Any) -> Json:
    """Return the columns of ovs_detrace. Raises BadEvent."""
    return _flow(_object(found, DETRACE), DETRACE)


def _flow(fields: Json, where: str) -> Json:
    values: Json = {key: fields.get(key) or None for key in _FLOW}
    if (parts := fields.get("ufid")) is not None:
        if not isinstance(parts, list) or len(parts) != len(_NO_UFID) or not all(map(_is_32_bits, parts)):
            raise BadEvent(f"{where}.ufid is not four numbers of 32 bits")
        values["ufid"] = ufid_text(parts) if any(parts) else None
    flows = fields.get("ofpflows")
    if flows is not None and not (isinstance(flows, list) and all(isinstance(f, str) for f in flows)):
        raise BadEvent(f"{where}.ofpflows is not a list of strings")
    return values


def _is_32_bits(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _MOST_32


def _action(fields: Json) -> Json:
    name = fields.get("action")
    values: Json = {"action": name}
    if name is not None and not isinstance(name, str):
        raise BadEvent("ovs.action is not a string")
    values |= {column: fields.get(key) for key, column in _FIELDS.get(name or "", ())}
    if name == "ct" and fields.get("nat") is not None:
        nat = _object(fields["nat"], "ovs.nat")
        values |= {column: nat.get(key) for key, column in _NAT}
    return values


def _object(node: Any, name: str) -> Json:
    if not isinstance(node, dict):
        raise BadEvent(f"{name} is not a JSON object")
    return node


# ---- to Retis


def section_of(name: str, values: Json) -> tuple[Json | None, Json]:
    """Return Retis' section, None when it can't hold this, and the columns that it doesn't hold.

    name: of our section. values: its columns that aren't null.
    """
    kind_name = values.get(_EVENT) if name == UPCALLS else _TYPES[name]
    kind = _KINDS.get(str(kind_name))
    left = dict(values)
    if kind is None or kind.section != name:
        return None, values
    left.pop(_EVENT, None)
    made: Json = {TYPE: kind_name}
    if name == LOOKUP:
        if not _put_flow(made, left):
            return None, values
    elif name == ACTION:
        if not _put_action(made, left):
            return None, values
    elif name == OPERATION and values.get("op_type") not in _OPERATIONS:
        return None, values
    for key, column in kind.keys:
        value = left.pop(column, None)
        if value is not None:
            made[key] = value
        elif key not in kind.optional:
            return None, values
    return made, left


def detrace_section(values: Json) -> tuple[Json | None, Json]:
    """Return Retis' section of our ovs_detrace, as `section_of` does."""
    left = dict(values)
    made: Json = {}
    return (made, left) if _put_flow(made, left) else (None, values)


def _put_flow(made: Json, left: Json) -> bool:
    if any(key in left and not left[key] for key in _FLOW):  # would be read as nothing
        return False
    parts = ufid_parts(left["ufid"]) if "ufid" in left else _NO_UFID
    if parts is None or ("ufid" in left and not any(parts)):
        return False
    nothing: Json = {"flow": 0, "sf_acts": 0, "ufid": _NO_UFID, "dpflow": "", "ofpflows": []}
    for key in _FLOW:
        made[key] = left.pop(key, nothing[key])
    made["ufid"] = parts
    return True


def _put_action(made: Json, left: Json) -> bool:
    name = left.get("action")
    if name is None:
        return True
    if name not in ACTIONS or name in ("unspec", "psample"):
        return True  # Retis has no word for it: it stays among what is ours
    fields = _FIELDS.get(name, ())
    if any(column not in left for _, column in fields):
        return False
    made["action"] = left.pop("action")
    for key, column in fields:
        made[key] = left.pop(column)
    nat = {key: left.pop(column) for key, column in _NAT if column in left} if name == "ct" else {}
    if nat or (name == "ct" and made["flags"] & CT_NAT):
        made["nat"] = nat
    return True
