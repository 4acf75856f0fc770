"""Texts of link and network layer."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Final

from line_form import START, V4, Add, Found, form, plain

MAC = r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}"
V6 = r"[0-9a-f]*:[0-9a-f:]*(?:\d+\.\d+\.\d+\.\d+|[0-9a-f]*)"
MARK = r"(?P<ecn> ECT\([01]\)| CE)?"
PROTOCOL = r" proto [^(]*\((?P<proto>\d+)\)"
ECN: Final = {None: 0, " ECT(1)": 1, " ECT(0)": 2, " CE": 3}
EXTENSIONS: Final = {
    "Hopopt": (0, "ipv6.hopopts.nxt"),
    "Ipv6Route": (43, "ipv6.routing.nxt"),
    "Ipv6Frag": (44, "ipv6.fraghdr.nxt"),
    "Ipv6Opts": (60, "ipv6.dstopts.nxt"),
    "MobilityHeader": (135, "mip6.proto"),
    "Hip": (139, "hip.proto"),
    "Shim6": (140, "shim6.nxt"),
    "Test1": (253, ""),
    "Test2": (254, ""),
}
IPV4_OPTIONS: Final = {
    "eol": 0,
    "nop": 1,
    "rr": 7,
    "ts": 68,
    "sec": 130,
    "lsrr": 131,
    "sid": 136,
    "ssrr": 137,
    "ra": 148,
}


@form(
    rf"{START}(?P<src>{MAC}) > (?P<dst>{MAC}) ethertype [^(]*\(0x(?P<type>\w{{4}})\)"
    r"(?P<tags>(?: vlan \d+ p \d(?: DEI)? ethertype [^(]*\(0x\w{4}\))*)"
)
def _ethernet(m: Found, add: Add) -> None:
    add("eth.src", m["src"])
    add("eth.dst", m["dst"])
    add("eth.type", int(m["type"], 16))
    outer = int(m["type"], 16)
    for vid, pcp, dei, inner in re.findall(
        r" vlan (\d+) p (\d)( DEI)? ethertype [^(]*\(0x(\w{4})\)", m["tags"]
    ):
        name = "ieee8021ad" if outer == 0x88A8 else "vlan"
        add(f"{name}.id", int(vid))
        add(f"{name}.priority", int(pcp))
        add(f"{name}.dei", int(bool(dei)))
        outer = int(inner, 16)


@form(r"an (?P<an>\d) pn (?P<pn>\d+) flags \[(?P<flags>\w*)\](?: sl \d+)?(?: sci 0x(?P<sci>\w{16}))?")
def _macsec(m: Found, add: Add) -> None:
    add("macsec.AN", int(m["an"]))
    add("macsec.PN", int(m["pn"]))
    for letter, name in zip("ECSBI", ("E", "C", "ES", "SCB", "SC"), strict=True):
        add(f"macsec.TCI.{name}", int(letter in m["flags"]))
    if m["sci"]:
        add("macsec.SCI.system_identifier", bytes.fromhex(m["sci"][:12]).hex(":"))
        add("macsec.SCI.port_identifier", int(m["sci"][12:], 16))


@form(
    rf"(?<!reverse )request who-has {V4}(?: \((?P<known>{MAC})\))? tell {V4}|"
    rf"(?<!reverse )reply {V4} is-at {MAC}|"
    rf"reverse request who-is {MAC} tell {MAC}|reverse reply {MAC} at {V4}"
)
def _arp(m: Found, add: Add) -> None:
    words = m[0].split(" ")
    if words[0] == "request":
        add("arp.opcode", 1)
        add("arp.dst.proto_ipv4", words[2])
        add("arp.src.proto_ipv4", words[-1])
        if m["known"]:
            add("arp.dst.hw_mac", m["known"])
    elif words[0] == "reply":
        add("arp.opcode", 2)
        add("arp.src.proto_ipv4", words[1])
        add("arp.src.hw_mac", words[3])
    elif words[1] == "request":
        add("arp.opcode", 3)
        add("arp.dst.hw_mac", words[3])
        add("arp.src.hw_mac", words[5])
    else:
        add("arp.opcode", 4)
        add("arp.dst.hw_mac", words[2])
        add("arp.dst.proto_ipv4", words[4])


plain(
    r"label (?P<label>\d+) tc (?P<tc>\d) ttl (?P<ttl>\d+)",
    label=("mpls.label", 10),
    tc=("mpls.exp", 10),
    ttl=("mpls.ttl", 10),
)


@form(
    rf"{START}(?P<src>{V4})(?:\.(?P<sport>\d+))? > (?P<dst>{V4})(?:\.(?P<dport>\d+))?"
    rf" tos 0x(?P<dscp>\w+){MARK} ttl (?P<ttl>\d+) id (?P<id>\d+) off (?P<off>\d+)(?: \[(?P<flags>[^]]*)\])?"
    rf"(?: len (?P<len>\d+))?(?: opts \[(?P<opts>[^]]*)\])?{PROTOCOL}"
)
def _ipv4(m: Found, add: Add) -> None:
    add("ip.src", m["src"])
    add("ip.dst", m["dst"])
    add("ip.dsfield.dscp", int(m["dscp"], 16))
    add("ip.dsfield.ecn", ECN[m["ecn"]])
    add("ip.ttl", int(m["ttl"]))
    add("ip.id", int(m["id"]))
    add("ip.frag_offset", int(m["off"]) // 8)
    flags = (m["flags"] or "").split(",")
    for flag, name in (("rsvd", "rb"), ("DF", "df"), ("+", "mf")):
        add(f"ip.flags.{name}", int(flag in flags))
    add("ip.len", int(m["len"] or 0))
    for option in (m["opts"] or "").split(",") if m["opts"] else ():
        add(
            "ip.opt.type",
            IPV4_OPTIONS[option] if option in IPV4_OPTIONS else int(option.removeprefix("opt-")),
        )
    add("ip.proto", int(m["proto"]))
    _ports(m, add)


@form(
    rf"{START}(?P<src>{V6})(?:\.(?P<sport>\d+))? > (?P<dst>{V6})(?:\.(?P<dport>\d+))?"
    rf"(?: tos 0x(?P<dscp>\w+))?{MARK} ttl (?P<ttl>\d+) label 0x(?P<label>\w+)"
    rf"(?: len (?P<len>\d+))?(?: exts \[(?P<exts>[^]]*)\])?(?:{PROTOCOL})?"
)
def _ipv6(m: Found, add: Add) -> None:
    add("ipv6.src", str(ip_address(m["src"])))
    add("ipv6.dst", str(ip_address(m["dst"])))
    add("ipv6.tclass.dscp", int(m["dscp"] or "0", 16))
    add("ipv6.tclass.ecn", ECN[m["ecn"]])
    add("ipv6.hlim", int(m["ttl"]))
    add("ipv6.flow", int(m["label"], 16))
    add("ipv6.plen", int(m["len"] or 0))
    names = m["exts"].split(",") if m["exts"] else []
    chain = [EXTENSIONS[name][0] for name in names] + ([int(m["proto"])] if m["proto"] else [])
    for field, number in zip(["ipv6.nxt", *(EXTENSIONS[name][1] for name in names)], chain, strict=False):
        if field:
            add(field, number)
    _ports(m, add)


def _ports(m: Found, add: Add) -> None:
    if m["sport"]:
        name = {"6": "tcp", "17": "udp", "132": "sctp"}[m["proto"]]
        add(f"{name}.srcport", int(m["sport"]))
        add(f"{name}.dstport", int(m["dport"]))
