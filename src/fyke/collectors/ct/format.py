"""Text of the ct section: `ct_state NEW status 0x120 tcp (SYN_SENT) orig [..] reply [..] zone 0 mark 0`.

Of a connection that was created or destroyed: `ct_event destroyed (timeout) status 0x120 ...`. With `-e` also
the names of the status' bits, what NAT makes of the packets, and the time left.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from fyke.collectors.ct.events import CT_EVENT
from fyke.collectors.ct.labels import SCTP, TCP, status_names
from fyke.collectors.ct.sections import CT, CT_PARENT
from fyke.collectors.formatting import Part, Place, Style, shown
from fyke.events.escape import printable
from fyke.packets.assigned import PROTOCOLS

_ICMP, _ICMPV6 = 1, 58
_STATEFUL = (TCP, SCTP)


class _Tuple(NamedTuple):
    """One direction, in the order of the columns."""

    src: str | None
    dst: str | None
    sport: int | None
    dport: int | None
    icmp_type: int | None
    icmp_code: int | None
    icmp_id: int | None
    vtag: int | None


class _Connection(NamedTuple):
    """A connection's columns in their order, tuples put together."""

    protocol: int | None
    proto_state: str | None
    orig: _Tuple
    reply: _Tuple
    zone_id: int | None
    zone_dir: str | None
    status: int | None
    mark: int | None
    labels_low: int | None
    labels_high: int | None
    timeout_ms: int | None


_WIDTH = len(_Tuple._fields)
_COLUMNS, _EVENT = len(CT.columns), len(CT_EVENT.columns)


def ct_text(style: Style, *values: Any) -> str | None:
    """Return what happened to the connection, it, and its parent on a line of its own."""
    happened, values = values[-_EVENT:], values[:-_EVENT]
    text = _event(*happened) or _state(values[0])
    if text is None:
        return None
    connection = _connection(values[1:_COLUMNS])
    if connection.protocol is None:
        return text
    text += f" {_status(connection, style)}{_connection_text(connection, style)}"
    parent = _connection(values[_COLUMNS:])
    if parent.protocol is None:
        return text
    lead = style.separator if style.multi_line else " "
    return f"{text}{lead}\\ parent [{_status(parent, style)}{_connection_text(parent, style)}]"


def _event(event: str | None, reason: str | None, by: str | None) -> str | None:
    if event is None:
        return None
    why = f" ({printable(reason)})" if reason else f" by {printable(by)}" if by else ""
    return f"ct_event {printable(event)}{why}"


def _state(state: str | None) -> str | None:
    return None if state is None else f"ct_state {printable(state).upper()}"


def _connection(values: Sequence[Any]) -> _Connection:
    orig, reply = values[2 : 2 + _WIDTH], values[2 + _WIDTH : 2 + 2 * _WIDTH]
    protocol, proto_state = values[:2]
    zone_id, zone_dir, status, mark, labels_low, labels_high, timeout_ms = values[2 + 2 * _WIDTH :]
    return _Connection(
        protocol,
        proto_state,
        _Tuple(*orig),
        _Tuple(*reply),
        zone_id,
        zone_dir,
        status,
        mark,
        labels_low,
        labels_high,
        timeout_ms,
    )


def _status(connection: _Connection, style: Style) -> str:
    status = connection.status or 0
    names = f" ({status_names(status)})" if style.link_layer and status else ""
    return f"status {status:#x}{names} "


def _connection_text(c: _Connection, style: Style) -> str:
    assert c.protocol is not None
    state = f" ({printable(c.proto_state or 'UNKNOWN')})" if c.protocol in _STATEFUL else ""
    text = f"{_name(c.protocol)}{state} orig [{_way(c.orig)}] reply [{_way(c.reply)}]"
    if style.link_layer:
        text += "".join(f" {part}" for part in _nat(c))
    text += _zone(c)
    if c.mark is not None:
        text += f" mark {c.mark}"
    if c.labels_low is not None or c.labels_high is not None:
        text += f" labels {(c.labels_high or 0) << 64 | (c.labels_low or 0):#x}"
    if style.link_layer and c.timeout_ms is not None:
        text += f" timeout {c.timeout_ms / 1000:.0f}s"
    return text


def _name(protocol: int) -> str:
    if protocol in (_ICMP, _ICMPV6):
        return "icmp"
    return PROTOCOLS.get(protocol, f"proto {protocol}").lower()


def _way(way: _Tuple) -> str:
    if way.icmp_type is not None:
        ends = f"{_end(way.src, None)} > {_end(way.dst, None)}"
        return f"{ends} type {way.icmp_type} code {way.icmp_code} id {way.icmp_id}"
    vtag = "" if way.vtag is None else f" vtag {way.vtag:#x}"
    return f"{_end(way.src, way.sport)} > {_end(way.dst, way.dport)}{vtag}"


def _end(address: str | None, port: int | None) -> str:
    name = shown(address)
    return name if port is None else f"{name}.{port}"


def _zone(c: _Connection) -> str:
    if c.zone_id is None or c.zone_dir is None:
        return ""
    names = {"Original": "orig-zone", "Reply": "reply-zone", "Default": "zone"}
    return f" {names[c.zone_dir]} {c.zone_id}" if c.zone_dir in names else ""


def _nat(c: _Connection) -> list[str]:
    """Return what NAT makes of packets in the original direction: where replies come from, and go to."""
    parts = []
    source, target = _end(c.orig.src, c.orig.sport), _end(c.orig.dst, c.orig.dport)
    if (new := _end(c.reply.dst, c.reply.dport)) != source:
        parts.append(f"snat {source} -> {new}")
    if (new := _end(c.reply.src, c.reply.sport)) != target:
        parts.append(f"dnat {target} -> {new}")
    return parts


PARTS = (
    Part(
        Place.REST,
        tuple(f"{section.name}.{c.name}" for section in (CT, CT_PARENT, CT_EVENT) for c in section.columns),
        ct_text,
    ),
)
