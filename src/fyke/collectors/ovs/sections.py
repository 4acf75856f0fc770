"""The columns of Open vSwitch's sections: of the kernel's datapath, of ovs-vswitchd, and of its flows."""

from __future__ import annotations

import struct

from fyke.collectors.ovs import actions
from fyke.events.column import Column, Names, Section
from fyke.events.escape import name_from_bytes
from fyke.events.ovs import UPCALL_EVENTS, ufid_text

OPERATIONS = ("put", "exec")  # enum ovs_operation
COMMANDS = ("unspec", "miss", "action", "exec")  # enum ovs_packet_cmd, Retis' words
_RAW_UFID = struct.Struct("=4I")  # struct ovs_ufid
_NONE = 0xFFFF_FFFF  # OVS_NONE in the C struct
_NO_COMMAND, _NO_RESULT = 0xFF, 0x7FFF_FFFF


def _event(raw: int, _names: Names) -> str:
    return UPCALL_EVENTS[raw] if raw < len(UPCALL_EVENTS) else str(raw)  # enum ovs_upcall_event


def _operation(raw: int, _names: Names) -> str:
    return OPERATIONS[raw] if raw < len(OPERATIONS) else str(raw)


def _port_name(raw: bytes, _names: Names) -> str | None:
    return name_from_bytes(raw) or None


def _ufid(raw: bytes, _names: Names) -> str | None:
    return ufid_text(_RAW_UFID.unpack(raw)) if any(raw) else None


def _queue_id(doc: str, source: str = "queue_id", none: int = 0) -> Column:
    return Column("queue_id", "uint32", doc, "", source, null_if=none)


def _batch() -> tuple[Column, ...]:
    return (
        Column("batch_timestamp_ns", "uint64", "The batch of upcalls: its time", "ns", "batch_ns", null_if=0),
        Column("batch_index", "uint8", "... and the upcall's place in it", "", "batch_index"),
    )


def _candidates(source: str = "") -> Column:
    doc = "Of so many packets it may be, as their messages can't be told apart; null: it is clear of which"
    return Column("candidates", "uint16", doc, "", source, null_if=0 if source else None)


OVS_UPCALL = Section(
    "ovs_upcall",
    "The datapath sends a packet to ovs-vswitchd.",
    (
        Column(
            "event",
            "string",
            "upcall: it begins; upcall_enqueue: a message was made of the packet, or of a GSO segment, and "
            "put into a socket; upcall_return: all were",
            "",
            "event",
            _event,
        ),
        Column("cmd", "uint8", "Why: 1 no flow matched, 2 an action says so", "", "cmd", null_if=_NO_COMMAND),
        Column(
            "port",
            "uint32",
            "Netlink port of the socket it goes to",
            "",
            "portid",
            null_if=_NONE,
        ),
        Column(
            "upcall_timestamp_ns",
            "uint64",
            "Of which upcall the event is: its time; null at the upcall itself",
            "ns",
            "upcall_ns",
            null_if=0,
        ),
        Column("upcall_cpu", "uint32", "... and its CPU", "", "upcall_cpu"),
        _queue_id("Number of the message, by which it is known in vswitchd; 0: none was sent", none=_NONE),
        Column("ret", "int32", "What the function returned: 0, or an error", "", "ret", null_if=_NO_RESULT),
        _candidates(),
    ),
)

OVS_LOOKUP = Section(
    "ovs_lookup",
    "Which flow of the datapath the packet matches.",
    (
        Column("flow", "uint64", "Address of the flow, null: none matches", "", "flow", null_if=0),
        Column("sf_acts", "uint64", "Address of its actions: they may change", "", "sf_acts", null_if=0),
        Column("ufid", "string", "The id that `ovs-dpctl dump-flows -m` shows", "", "ufid", _ufid),
        Column("n_mask_hit", "uint32", "Masks that were tried", "", "n_mask_hit"),
        Column("n_cache_hit", "uint32", "Whether the cache of masks knew the right one", "", "n_cache_hit"),
        Column("dpflow", "string", "The flow as ovs-appctl dpctl/get-flow shows it"),
        Column("ofpflows", "list<string>", "The OpenFlow rules it is made of, as ofproto/detrace has them"),
    ),
)

_ACTION = "action"  # the struct that the whole action is in

OVS_ACTION = Section(
    "ovs_action",
    "The datapath runs an action on the packet.",
    (
        Column("action", "string", "The action: output, set, ct, drop ...", "", _ACTION, actions.action),
        Column(
            "recirc_id",
            "uint32",
            "Recirculation id that the packet was looked up with, 0 at first",
            "",
            "recirc_id",
        ),
        _queue_id("Of a packet that comes back from vswitchd: the message's number, see ovs_upcall"),
        Column("port", "uint32", "Of output: the datapath's number of the port", "", "port", null_if=_NONE),
        Column("port_name", "string", "... and its name now", "", "port_name", _port_name),
        Column("id", "uint32", "Of recirc: the new recirculation id", "", "recirc", null_if=0),
        Column("reason", "uint32", "Of drop: why", "", "reason", null_if=_NONE),
        Column(
            "ct_flags",
            "uint32",
            "Of ct: 1 commit, 2 force, 4 IPv4, 8 IPv6, 16 NAT, 32 of the source, 64 of the destination, 128 "
            "to addresses, 256 to ports, 512 random, 1024 persistent, 2048 fully random",
            "",
            _ACTION,
            actions.ct_flags,
        ),
        Column("ct_zone", "uint16", "Its zone", "", _ACTION, actions.ct_zone),
        Column(
            "nat_dir",
            "string",
            "What NAT changes: src, dst; null: nothing, or what the connection says",
            "",
            _ACTION,
            actions.nat_direction,
        ),
        Column("nat_min_addr", "string", "First address it may use", "", _ACTION, actions.nat_min_address),
        Column("nat_max_addr", "string", "Last address", "", _ACTION, actions.nat_max_address),
        Column("nat_min_port", "uint16", "First port", "", _ACTION, actions.nat_min_port),
        Column("nat_max_port", "uint16", "Last port", "", _ACTION, actions.nat_max_port),
        Column(
            "arguments",
            "string",
            "All other arguments, in the words of ovs-dpctl: `ipv4(dst=10.0.0.2,ttl=63)`",
            "",
            _ACTION,
            actions.arguments,
        ),
        _candidates(),
    ),
)

OVS_RECV = Section(
    "ovs_recv",
    "A thread of ovs-vswitchd receives the message of an upcall.",
    (
        _queue_id("Number of the message, see ovs_upcall; null: its upcall wasn't seen"),
        Column("type", "uint32", "Type of the upcall (enum dpif_upcall_type)", "", "type"),
        Column("pkt_size", "uint32", "Size of the packet", "bytes", "pkt_size"),
        Column("key_size", "uint64", "Size of the flow's key", "bytes", "key_size"),
        *_batch(),
        _candidates(),
    ),
)

OVS_OPERATION = Section(
    "ovs_operation",
    "ovs-vswitchd sends an operation to the datapath.",
    (
        Column(
            "op_type",
            "string",
            "put: a flow is made; exec: actions are run on the packet",
            "",
            "op_type",
            _operation,
        ),
        _queue_id("Number of the message whose answer it is, see ovs_upcall; null: of none that was seen"),
        *_batch(),
        _candidates("candidates"),
    ),
)

OVS_DETRACE = Section(
    "ovs_detrace",
    "What OVS knows of a flow that was met (--ovs-enrich-flows).",
    (
        Column("ufid", "string", "The flow's id"),
        Column("flow", "uint64", "Its address, as in ovs_lookup"),
        Column("sf_acts", "uint64", "... and its actions'"),
        Column("dpflow", "string", "As in ovs_lookup"),
        Column("ofpflows", "list<string>", "As in ovs_lookup"),
    ),
    in_kernel=False,
)

IN_KERNEL = (OVS_UPCALL, OVS_LOOKUP, OVS_ACTION)
SECTIONS = (*IN_KERNEL, OVS_RECV, OVS_OPERATION, OVS_DETRACE)
