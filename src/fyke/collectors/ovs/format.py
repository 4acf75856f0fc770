"""Text of the ovs sections: `upcall (miss) port 2 cpu 0`, `flow hit ufid ...`, `exec oport 2 (veth1)`."""

from __future__ import annotations

from collections.abc import Sequence

from fyke.collectors.formatting import Part, Place, Style, shown
from fyke.collectors.ovs import sections
from fyke.collectors.ovs.texts import command, ct_flags, flow_lines, nat, plain_action
from fyke.events.column import Section
from fyke.events.escape import printable
from fyke.events.ovs import ENQUEUE, RETURN, UPCALL

_INDENT = " " * 4


def upcall_text(
    _style: Style,
    event: str | None,
    cmd: int | None,
    port: int | None,
    timestamp_ns: int | None,
    cpu: int | None,
    queue_id: int | None,
    ret: int | None,
    candidates: int | None,
) -> str | None:
    """Return what of an upcall happens, and which it is."""
    if event is None:
        return None
    of_upcall = f"({_number(cpu)}/{_number(timestamp_ns)})"
    if event == UPCALL:
        return f"upcall{command(cmd)} port {_number(port)} cpu {_number(cpu)}"
    if event == ENQUEUE:
        text = f"upcall_enqueue{command(cmd)} {of_upcall} q {_number(queue_id)} ret {_number(ret)}"
        return text + _ambiguous(candidates)
    if event == RETURN:
        return f"upcall_ret {of_upcall} ret {_number(ret)}"
    return printable(event)


def lookup_text(
    style: Style,
    flow: int | None,
    sf_acts: int | None,
    ufid: str | None,
    masks: int | None,
    caches: int | None,
    dpflow: str | None,
    ofpflows: Sequence[str | None] | None,
) -> str | None:
    """Return the flow that was found, and what OVS knows of it."""
    if masks is None and caches is None and flow is None:
        return None
    counts = f"mask {_number(masks)} cache {_number(caches)}"
    if flow is None:
        return f"flow miss {counts}"
    text = f"flow hit ufid {shown(ufid)} {counts} flow {flow:x} sf_acts {sf_acts or 0:x}"
    return text + _flows(style, dpflow, ofpflows)


def _flows(style: Style, dpflow: str | None, ofpflows: Sequence[str | None] | None) -> str:
    lead = style.separator
    text = f"{lead}odpflow {lead.join(flow_lines(dpflow))}" if dpflow else ""
    if ofpflows:
        inner = f"{lead}{_INDENT}" if style.multi_line else " "
        lines = [line for flow in ofpflows for line in flow_lines(flow or "")]
        text += f"{lead}openflow" + "".join(f"{inner}{line}" for line in lines)
    return text


def action_text(
    _style: Style,
    action: str | None,
    recirc_id: int | None,
    queue_id: int | None,
    port: int | None,
    port_name: str | None,
    number: int | None,
    reason: int | None,
    flags: int | None,
    zone: int | None,
    nat_dir: str | None,
    min_addr: str | None,
    max_addr: str | None,
    min_port: int | None,
    max_port: int | None,
    arguments: str | None,
    candidates: int | None,
) -> str | None:
    """Return the action with its arguments."""
    if action is None and recirc_id is None:
        return None
    text = f"[recirc_id {recirc_id:#x}] exec " if recirc_id else "exec "
    if action == "output" and port is not None:
        text += f"oport {port}"
        text += f" ({printable(port_name)})" if port_name else ""
    elif action == "recirc" and number is not None:
        text += f"recirc {number:#x}"
    elif action == "drop" and reason is not None:
        text += f"drop {reason}"
    elif action == "ct" and zone is not None:
        nat_text = nat(flags or 0, nat_dir, (min_addr, max_addr), (min_port, max_port))
        text += f"ct zone {zone}{nat_text}{ct_flags(flags or 0)}"
        text += f" {printable(arguments)}" if arguments else ""
    else:
        text += plain_action(action, arguments)
    return text if queue_id is None else f"{text} q {queue_id}{_ambiguous(candidates)}"


def recv_text(
    _style: Style,
    queue_id: int | None,
    kind: int | None,
    pkt_size: int | None,
    key_size: int | None,
    _batch_ns: int | None,
    _batch_index: int | None,
    candidates: int | None,
) -> str | None:
    """Return what was received."""
    if kind is None and pkt_size is None and key_size is None:
        return None
    return f"upcall_recv q {_number(queue_id)} pkt_size {_number(pkt_size)}{_ambiguous(candidates)}"


def operation_text(
    _style: Style,
    op_type: str | None,
    queue_id: int | None,
    batch_ns: int | None,
    batch_index: int | None,
    candidates: int | None,
) -> str | None:
    """Return what the datapath is asked for."""
    if op_type is None:
        return None
    where = f"q {_number(queue_id)} ts {_number(batch_ns)} ({_number(batch_index)})"
    return f"flow_{printable(op_type)} {where}{_ambiguous(candidates)}"


def detrace_text(
    style: Style,
    ufid: str | None,
    _flow: int | None,
    _sf_acts: int | None,
    dpflow: str | None,
    ofpflows: Sequence[str | None] | None,
) -> str | None:
    """Return what OVS knows of a flow."""
    if ufid is None:
        return None
    lead = style.separator
    lines = [line for flow in ofpflows or [] for line in flow_lines(flow or "")]
    if not style.multi_line:
        return f"ufid:{printable(ufid)} {' '.join(flow_lines(dpflow or ''))} openflow: {' '.join(lines)}"
    head = f"ufid:{printable(ufid)} {lead.join(flow_lines(dpflow or ''))}{lead}openflow:"
    return head + f"{lead}{_INDENT}".join(lines)


def _ambiguous(candidates: int | None) -> str:
    return "" if candidates is None else f" stitch ambiguous: {candidates} candidates"


def _number(value: int | None) -> str:
    return "?" if value is None else str(value)


def _columns(section: Section) -> tuple[str, ...]:
    return tuple(f"{section.name}.{column.name}" for column in section.columns)


PARTS = (
    Part(Place.REST, _columns(sections.OVS_UPCALL), upcall_text),
    Part(Place.REST, _columns(sections.OVS_LOOKUP), lookup_text),
    Part(Place.REST, _columns(sections.OVS_ACTION), action_text),
    Part(Place.REST, _columns(sections.OVS_RECV), recv_text),
    Part(Place.REST, _columns(sections.OVS_OPERATION), operation_text),
    Part(Place.REST, _columns(sections.OVS_DETRACE), detrace_text),
)
