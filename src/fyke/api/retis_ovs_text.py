"""The text of the ovs and ovs-detrace sections as Retis' Python package has it, over several lines.

fields: of a section in its JSON form. What is missing of it is a KeyError, what is of another type a
TypeError: Retis doesn't read such events at all.
"""

from __future__ import annotations

from fyke.api.retis_fields import Json
from fyke.api.retis_ovs import RetisUfid
from fyke.collectors.ovs.texts import command, ct_flags, flow_lines, nat, plain_action
from fyke.events.escape import printable
from fyke.events.ovs import CT_NAT

_INDENT = " " * 4


def ovs_text(fields: Json) -> str | None:
    """Return the text of the ovs section, None for an event of a type that isn't known."""
    make = _EVENTS.get(str(fields.get("event_type")))
    return None if make is None else make(fields)


def detrace_text(fields: Json) -> str:
    """Return the text of the ovs-detrace section."""
    flows = "\n".join(_lines(fields["ofpflows"])).replace("\n", f"\n{_INDENT}")
    return f"ufid:{RetisUfid(fields['ufid']).show()} {_text(fields['dpflow'])}\nopenflow:{flows}"


def _upcall(fields: Json) -> str:
    return f"upcall{command(fields['cmd'])} port {fields['port']} cpu {fields['cpu']}"


def _enqueue(fields: Json) -> str:
    where = f"{_of_upcall(fields)} q {fields['queue_id']}"
    return f"upcall_enqueue{command(fields['cmd'])} {where} ret {fields['ret']}"


def _return(fields: Json) -> str:
    return f"upcall_ret {_of_upcall(fields)} ret {fields['ret']}"


def _receive(fields: Json) -> str:
    return f"upcall_recv q {fields['queue_id']} pkt_size {fields['pkt_size']}"


def _operation(fields: Json) -> str:
    what = printable(fields["op_type"])
    return f"flow_{what} q {fields['queue_id']} ts {fields['batch_ts']} ({fields['batch_idx']})"


def _lookup(fields: Json) -> str:
    counts = f"mask {fields['n_mask_hit']} cache {fields['n_cache_hit']}"
    if not fields["flow"]:
        return f"flow miss {counts}"
    ids = f"flow {fields['flow']:x} sf_acts {fields['sf_acts']:x}"
    lines = [f"flow hit ufid {RetisUfid(fields['ufid']).show()} {counts} {ids}"]
    if fields["dpflow"]:
        lines.append(f"odpflow {_text(fields['dpflow'])}")
    if fields["ofpflows"]:
        lines += ["openflow", *(f"{_INDENT}{line}" for line in _lines(fields["ofpflows"]))]
    return "\n".join(lines)


def _execute(fields: Json) -> str:
    recirculated = f"[recirc_id {fields['recirc_id']:#x}] " if fields.get("recirc_id") else ""
    queue = "" if fields.get("queue_id") is None else f" q {fields['queue_id']}"
    return f"{recirculated}exec {_action(fields)}{queue}"


def _action(fields: Json) -> str:
    name = fields.get("action")
    if name == "output":
        return f"oport {fields['port']}"
    if name == "recirc":
        return f"recirc {fields['id']:#x}"
    if name == "drop":
        return f"drop {fields['reason']}"
    if name == "ct":
        flags = fields["flags"]
        return f"ct zone {fields['zone_id']}{_nat(fields.get('nat'), flags)}{ct_flags(flags)}"
    return plain_action(name)


def _nat(found: Json | None, flags: int) -> str:
    if found is None:
        return ""
    addresses, ports = ((found.get(f"min_{what}"), found.get(f"max_{what}")) for what in ("addr", "port"))
    return nat(flags | CT_NAT, found.get("dir"), addresses, ports)


def _of_upcall(fields: Json) -> str:
    return f"({fields['upcall_cpu']}/{fields['upcall_ts']})"


def _lines(texts: list[str]) -> list[str]:
    return [line for text in texts for line in flow_lines(text)]


def _text(text: str) -> str:
    """Return text of OVS, safe to show, in its lines."""
    return "\n".join(flow_lines(text))


_EVENTS = {
    "upcall": _upcall,
    "upcall_enqueue": _enqueue,
    "upcall_return": _return,
    "recv_upcall": _receive,
    "flow_operation": _operation,
    "flow_lookup": _lookup,
    "action_execute": _execute,
}
