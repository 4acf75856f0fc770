"""The text of the ovs and ovs-detrace sections as Retis' Python package has it, over several lines.

fields: of a section in its JSON form. What is missing of it is a KeyError, what is of another type a
TypeError: Retis doesn't read such events at all.
"""

from __future__ import annotations

from fyke.api.retis_fields import Json
from fyke.api.retis_ovs import RetisUfid
from fyke.events.escape import printable

_COMMANDS = ("unspec", "miss", "action", "exec")  # of an upcall (enum ovs_packet_cmd)
# Flags of conntrack's action, in the order of the text (bits of Retis' own).
_CT_FLAGS = ((0, "commit"), (1, "force"), (10, "persistent"), (9, "hash"), (11, "random"))
_MAP_IPS, _MAP_PORTS = 1 << 7, 1 << 8
_RENAMED = {"set": "tunnel_set"}
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
    return f"upcall{_command(fields['cmd'])} port {fields['port']} cpu {fields['cpu']}"


def _enqueue(fields: Json) -> str:
    where = f"{_of_upcall(fields)} q {fields['queue_id']}"
    return f"upcall_enqueue{_command(fields['cmd'])} {where} ret {fields['ret']}"


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
        return (
            f"ct zone {fields['zone_id']}{_nat(fields.get('nat'), fields['flags'])}{_flags(fields['flags'])}"
        )
    return "unspec" if name is None else _RENAMED.get(name, printable(name))


def _nat(nat: Json | None, flags: int) -> str:
    if nat is None:
        return ""
    if nat.get("dir") is None:
        return " nat"
    address = _range(nat.get("min_addr"), nat.get("max_addr")) if flags & _MAP_IPS else ""
    port = _range(nat.get("min_port"), nat.get("max_port")) if flags & _MAP_PORTS else ""
    return f" nat({printable(nat['dir'])}{address and f'={address}'}{port and f':{port}'})"


def _range(low: str | int | None, high: str | int | None) -> str:
    if low is None or high is None:
        return ""
    return printable(str(low)) + ("" if low == high else f"-{printable(str(high))}")


def _flags(flags: int) -> str:
    names = ",".join(name for bit, name in _CT_FLAGS if flags >> bit & 1)
    return f" {names}" if names else ""


def _command(number: int) -> str:
    return f" ({_COMMANDS[number]})" if 0 <= number < len(_COMMANDS) else ""


def _of_upcall(fields: Json) -> str:
    return f"({fields['upcall_cpu']}/{fields['upcall_ts']})"


def _lines(texts: list[str]) -> list[str]:
    return [line for text in texts for line in _text(text).split("\n")]


def _text(text: str) -> str:
    """Return text of OVS, safe to show, in its lines."""
    return "\n".join(printable(line) for line in text.split("\n"))


_EVENTS = {
    "upcall": _upcall,
    "upcall_enqueue": _enqueue,
    "upcall_return": _return,
    "recv_upcall": _receive,
    "flow_operation": _operation,
    "flow_lookup": _lookup,
    "action_execute": _execute,
}
