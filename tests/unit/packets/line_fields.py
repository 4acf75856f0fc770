"""Reads a packet's text back into fields, as tshark names and orders them: outer headers first."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Final

import line_headers  # noqa: F401  (its forms are among FORMS)
from line_form import FORMS, V4, Add, Found, Value, form, numbered, plain

Fields = dict[str, list[Value]]

ETHERTYPE = r" proto [^(]*\(0x(?P<type>\w+)\)"
TCP_OPTIONS: Final = {
    "eol": 0, "nop": 1, "mss": 2, "wscale": 3, "sackOK": 4, "sack": 5, "echo": 6, "echoreply": 7, "TS": 8,
    "cc": 11, "ccnew": 12, "ccecho": 13, "md5": 19, "uto": 28, "tfo": 34,
}  # fmt: skip
CHUNKS: Final = (
    "DATA", "INIT", "INIT_ACK", "SACK", "HEARTBEAT", "HEARTBEAT_ACK", "ABORT", "SHUTDOWN", "SHUTDOWN_ACK",
    "ERROR", "COOKIE_ECHO", "COOKIE_ACK", "ECNE", "CWR", "SHUTDOWN_COMPLETE",
)  # fmt: skip
_SETUP = ("initiate_tag", "credit", "nr_out_streams", "nr_in_streams", "initial_tsn")
CHUNK_FIELDS: Final = {
    "DATA": ("data_tsn_raw", "data_sid", "data_ssn", "data_payload_proto_id"),
    "INIT": tuple(f"init_{name}" for name in _SETUP),
    "INIT_ACK": tuple(f"initack_{name}" for name in _SETUP),
    "SACK": (
        "sack_cumulative_tsn_ack_raw",
        "sack_a_rwnd",
        "sack_number_of_gap_blocks",
        "sack_number_of_duplicated_tsns",
    ),
}
RECORDS: Final = ("IS_IN", "IS_EX", "TO_IN", "TO_EX", "ALLOW", "BLOCK")


def fields(line: str) -> Fields:
    """All fields that a text with the link layer gives; nothing for those it doesn't have."""
    out: defaultdict[str, list[Value]] = defaultdict(list)
    matches = [(match, read) for pattern, read in FORMS for match in pattern.finditer(line)]
    for match, read in sorted(matches, key=lambda one: one[0].start()):
        read(match, lambda name, value: out[name].append(value))
    return dict(out)


@form(
    r" flags \[(?P<flags>\S*)\] seq (?P<seq>\d+)(?::(?P<until>\d+))?(?: ack (?P<ack>\d+))?"
    r" win (?P<win>\d+)(?: \[(?P<options>[^]]*)\])?"
)
def _tcp(m: Found, add: Add) -> None:
    add("tcp.flags", sum(1 << "FSRP.UEWe".index(letter) for letter in m["flags"]))
    add("tcp.seq", int(m["seq"]))
    add("tcp.len", (int(m["until"]) - int(m["seq"])) % (1 << 32) if m["until"] else 0)
    if m["ack"]:
        add("tcp.ack", int(m["ack"]))
    add("tcp.window_size_value", int(m["win"]))
    for option in m["options"].split(",") if m["options"] else ():
        name, *values = option.split(" ")
        add("tcp.option_kind", TCP_OPTIONS.get(name, name))
        if not values:
            continue  # it has none, or isn't there as a whole
        if name == "mss":
            add("tcp.options.mss_val", int(values[0]))
        elif name == "wscale":
            add("tcp.options.wscale.shift", int(values[0]))
        elif name == "TS":
            add("tcp.options.timestamp.tsval", int(values[1]))
            add("tcp.options.timestamp.tsecr", int(values[3]))
        elif name == "sack":
            for left, right in re.findall(r"\{(\d+):(\d+)\}", option):
                add("tcp.options.sack_le", int(left))
                add("tcp.options.sack_re", int(right))
        elif name in ("echo", "echoreply"):
            add("tcp.options.echo_value", int(values[0]))
        elif name in ("cc", "ccnew", "ccecho"):
            add("tcp.options.cc_value", int(values[0]))
        elif name == "tfo" and values[0] == "cookie" and "?" not in values[1]:
            add("tcp.options.tfo.cookie", values[1].removeprefix("0x"))


@form(r" proto UDP \(17\) len (?P<len>\d+)")
def _udp(m: Found, add: Add) -> None:
    add("udp.length", 8 + int(m["len"]))


@form(r" vtag 0x(?P<vtag>\w+)(?P<chunks>(?: \[[^]]*\])*)")
def _sctp(m: Found, add: Add) -> None:
    add("sctp.verification_tag", int(m["vtag"], 16))
    for name, marks, values in re.findall(r" \[([\w:]+)(?: \(([UBE]+)\))?([^]]*)\]", m["chunks"]):
        add("sctp.chunk_type", numbered(name, CHUNKS))
        if name == "DATA":
            for mark in "ube":
                add(f"sctp.data_{mark}_bit", int(mark.upper() in marks))
        # Names and values take turns.
        for field, value in zip(CHUNK_FIELDS.get(name, ()), values.split(" ")[2::2], strict=False):
            add(f"sctp.{field}", int(value, 0))


@form(rf" geneve \[(?P<flags>\w*)\] vni 0x(?P<vni>\w+){ETHERTYPE}(?: \[(?P<options>[^]]*)\])?")
def _geneve(m: Found, add: Add) -> None:
    add("geneve.flags.oam", int("O" in m["flags"]))
    add("geneve.flags.critical", int("C" in m["flags"]))
    add("geneve.vni", int(m["vni"], 16))
    add("geneve.proto_type", int(m["type"], 16))
    found = re.findall(r"class (0x\w+) type (0x\w+)(\(C\))? len (\d+)", m["options"] or "")
    # tshark counts the options' headers, and begins with the length of all.
    add("geneve.option.length", sum(4 + int(size) for *_, size in found))
    for cls, kind, mark, size in found:
        add("geneve.option.class", int(cls, 16))
        add("geneve.option.type", int(kind, 16))
        add("geneve.option.type.critical", int(bool(mark)))
        add("geneve.option.length", 4 + int(size))


@form(
    r" gre \[(?P<flags>\w*)\](?: v(?P<version>\d))?(?: key 0x(?P<key>\w+))?"
    rf"(?: call (?P<call>\d+) len (?P<len>\d+))?(?: seq (?P<seq>\d+))?(?: ack (?P<ack>\d+))?{ETHERTYPE}"
)
def _gre(m: Found, add: Add) -> None:
    bits = {"C": 0x8000, "R": 0x4000, "K": 0x2000, "S": 0x1000, "s": 0x0800, "A": 0}
    add("gre.flags_and_version", sum(bits[letter] for letter in m["flags"]) | int(m["version"] or 0))
    add("gre.proto", int(m["type"], 16))
    if m["key"]:
        add("gre.key", int(m["key"], 16))
    for group, name in (("len", "key.payload_length"), ("call", "key.call_id"), ("seq", "sequence_number")):
        if m[group]:
            add(f"gre.{name}", int(m[group]))
    if m["ack"]:
        add("gre.ack_number", int(m["ack"]))


@form(r" proto IGMP \(2\) type 0x(?P<kind>\w+)(?P<rest>.*)")
def _igmp(m: Found, add: Add) -> None:
    add("igmp.type", int(m["kind"], 16))
    rest = m["rest"]
    if found := re.search(r" max_resp ([\d.]+)s", rest):
        add("igmp.max_resp", round(float(found[1]) * 10))
    if found := re.search(r" \[(S?)\] qrv (\d)", rest):
        add("igmp.s", int(bool(found[1])))
        add("igmp.qrv", int(found[2]))
    for name, group in re.findall(rf"(?:\[([\w:]+)| group) ({V4})", rest):
        add("igmp.maddr", group)
        if name:
            add("igmp.record_type", numbered(name, RECORDS, first=1))
    for sources in re.findall(r"\{([\d.,]+)\}", rest):
        for source in sources.split(","):
            add("igmp.saddr", source)


@form(r" spi 0x(?P<spi>\w{8}) seq 0x(?P<seq>\w+) icv 0x(?P<icv>\w*) proto [^(]*\((?P<next>\d+)\)")
def _ah(m: Found, add: Add) -> None:
    add("ah.spi", int(m["spi"], 16))
    add("ah.sequence", int(m["seq"], 16))
    add("ah.icv", m["icv"])
    add("ah.next_header", int(m["next"]))


plain(
    r" proto ESP \(50\) spi 0x(?P<spi>\w{8}) seq 0x(?P<seq>\w+)",
    spi=("esp.spi", 16),
    seq=("esp.sequence", 16),
)
plain(r" vxlan \[I\] vni 0x(?P<vni>\w+)", vni=("vxlan.vni", 16))
for _name, _number in (("ICMP", 1), ("ICMPv6", 58)):
    plain(
        rf" proto {_name} \({_number}\) type (?P<type>\d+) code (?P<code>\d+)",
        type=(f"{_name.lower()}.type", 10),
        code=(f"{_name.lower()}.code", 10),
    )
