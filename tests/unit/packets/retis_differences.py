"""Where fyke's packet text differs from Retis', on purpose: the one table of it.

Each entry shows one packet with both texts, which a test checks against both programs, so that no entry
outlives its reason (but for `link_layer`, which Retis' library can't be asked for). `row` is the entry's row
in docs/differences.md where it isn't the name. `retis` and `fyke` then say how the comparison of random
packets reconciles the two: each rewrites that side's text into what both can be held to. `excuses` decides
where Retis has no comparable text.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import frames
from retis_oracle import CRASHED
from retis_reconcile import (
    TRUNCATED,
    dissected_here,
    ipsec_over_ipv6,
    later_fragment,
    no_length,
    nothing_further,
    numbered_options,
    one_number,
    short_extension,
    short_macsec,
    swap_fragment_flags,
    without_dscp,
    without_name_of_mpls,
)


def _same(text: str) -> str:
    return text


def _never(theirs: str, ours: str) -> bool:
    return False


@dataclass(frozen=True)
class Difference:
    name: str
    reason: str
    sample: bytes
    theirs: str
    ours: str
    retis: Callable[[str], str] = _same
    fyke: Callable[[str], str] = _same
    excuses: Callable[[str, str], bool] = _never
    row: str = ""
    link_layer: bool = False


def agree(theirs: str, ours: str) -> bool:
    """Whether the texts of one packet are equal, but for the differences below."""
    for difference in DIFFERENCES:
        theirs, ours = difference.retis(theirs), difference.fyke(ours)
    return theirs == ours or any(difference.excuses(theirs, ours) for difference in DIFFERENCES)


_TCP = " ttl 64 id 7 off 0 len 40 proto TCP (6) flags [.] seq 100 ack 5 win 1000"
_LABEL = "::1 > ::2 ttl 64 label 0x0"
_TCP6 = " proto TCP (6) flags [.] seq 100 ack 5 win 1000"
_UNKNOWN = (
    "10.0.0.1 > 10.0.0.2 tos 0x0 ttl 64 id 7 off 0 len 20 proto OSPF (89)... (protocol 0x59 not supported"
)
_ECHO = "10.0.0.1 > 10.0.0.2 tos 0x0 ttl 64 id 7 off 0 len {}"
_ICMP = " proto ICMP (1) type 8 code 0"
_INNER = frames.ipv4(1, b"\x08\0\0\0")
_GENEVE = (
    "00:11:22:33:44:55 > ff:ee:dd:cc:bb:aa ethertype IPv4 (0x0800) "
    "10.0.0.1.10 > 10.0.0.2.6081 tos 0x0 ttl 64 id 7 off 0 len 60 proto UDP (17) len 32 "
    "geneve [] vni 0xabcdef"
)

DIFFERENCES = (
    Difference(
        "no pcap hint",
        "Retis points at its own pcap command.",
        frames.ethernet(0x800, frames.ipv4(89)),
        f"{_UNKNOWN}, use 'retis pcap')",
        f"{_UNKNOWN})",
        retis=lambda text: text.replace(" not supported, use 'retis pcap')", " not supported)"),
        row="unsupported protocols",
    ),
    Difference(
        "GRE, IPIP, IPv6 in IP, Ethernet in IP, IGMP",
        "Retis has their names only. Tunnels are printed as those over UDP: fields, space, what is inside.",
        frames.ethernet(0x800, frames.ipv4(47, frames.gre(0x800, _INNER, key=42))),
        f"{_ECHO.format(52)} proto GRE (47)... (protocol 0x2f not supported, use 'retis pcap')",
        f"{_ECHO.format(52)} proto GRE (47) gre [K] key 0x2a {_ECHO.format(24)}{_ICMP}",
        excuses=dissected_here,
        row="unsupported protocols",
    ),
    Difference(
        "MPLS",
        "Retis has the names of its ethertypes only.",
        frames.ethernet(0x8847, frames.mpls(16, 17, inner=_INNER)),
        "... (ethertype 0x8847 not supported, use 'retis pcap')",
        f"mpls [label 16 tc 5 ttl 64,label 17 tc 5 ttl 64] {_ECHO.format(24)}{_ICMP}",
        excuses=dissected_here,
        row="unsupported protocols",
    ),
    Difference(
        "MPLS in IP",
        "Retis has no name for it.",
        frames.ethernet(0x800, frames.ipv4(137, frames.mpls(16, inner=_INNER))),
        f"{_ECHO.format(48)} proto (137)... (protocol 0x89 not supported, use 'retis pcap')",
        f"{_ECHO.format(48)} proto MPLS (137) mpls [label 16 tc 5 ttl 64] {_ECHO.format(24)}{_ICMP}",
        fyke=without_name_of_mpls,
        row="unsupported protocols",
    ),
    Difference(
        "Reverse ARP",
        "Retis has words for its operations, but not under its ethertype (RFC 903).",
        frames.ethernet(0x8035, frames.arp(3)),
        "... (ethertype 0x8035 not supported, use 'retis pcap')",
        "reverse request who-is 0a:0b:0c:0d:0e:0f tell 01:02:03:04:05:06",
        excuses=dissected_here,
        row="unsupported protocols",
    ),
    Difference(
        "IPv4 flags",
        "More-fragments is bit 0 of the three and the reserved flag bit 2 (RFC 791); Retis has them swapped.",
        frames.ethernet(0x800, frames.ipv4(1, b"\x08\0\0\0", fragment=0x2000)),
        "10.0.0.1 > 10.0.0.2 tos 0x0 ttl 64 id 7 off 0 [rsvd] len 24 proto ICMP (1) type 8 code 0",
        "10.0.0.1 > 10.0.0.2 tos 0x0 ttl 64 id 7 off 0 [+] len 24 proto ICMP (1) type 8 code 0",
        retis=swap_fragment_flags,
    ),
    Difference(
        "IPv6 DSCP",
        "Retis never prints it. Printed as over IPv4, but only when it isn't 0.",
        frames.ethernet(0x86DD, frames.ipv6(58, b"\x80\0\0\0", traffic_class=0xB9)),
        "::1 > ::2 ECT(1) ttl 64 label 0x0 len 4 proto ICMPv6 (58) type 128 code 0",
        "::1 > ::2 tos 0x2e ECT(1) ttl 64 label 0x0 len 4 proto ICMPv6 (58) type 128 code 0",
        fyke=without_dscp,
    ),
    Difference(
        "TFO cookie",
        "A cookie is one number; Retis prints one for each byte, with nothing between them.",
        frames.ethernet(0x800, frames.ipv4(6, frames.tcp(options=b"\x22\4\1\2"))),
        f"10.0.0.1.10 > 10.0.0.2.20 tos 0x0{_TCP} [tfo cookie 0x010x02]".replace("len 40", "len 44"),
        f"10.0.0.1.10 > 10.0.0.2.20 tos 0x0{_TCP} [tfo cookie 0x0102]".replace("len 40", "len 44"),
        retis=one_number,
    ),
    Difference(
        "short MACsec payload",
        "Retis reads the inner ethertype without looking whether it was captured, and crashes.",
        frames.ethernet(0x88E5, frames.macsec(b"\x08")),
        CRASHED,
        TRUNCATED,
        excuses=short_macsec,
        row="MACsec payload or IPv6 extension header that was cut off",
    ),
    Difference(
        "short IPv6 extension header",
        "Retis skips as many bytes as the header says, there or not, and crashes.",
        frames.ethernet(0x86DD, frames.ipv6(0, frames.extension(6, bytes(6), second=1))),
        CRASHED,
        f"{_LABEL} len 8 exts [Hopopt]{TRUNCATED}",
        excuses=short_extension,
        row="MACsec payload or IPv6 extension header that was cut off",
    ),
    Difference(
        "ESP over IPv6",
        "Retis takes ESP for an extension header and reads its SPI and sequence number as one: it prints "
        "garbage or crashes. Printed as over IPv4.",
        frames.ethernet(0x86DD, frames.ipv6(50, frames.esp())),
        f"{_LABEL} len 8 exts [Esp] proto (0)... (protocol 0x0 not supported, use 'retis pcap')",
        f"{_LABEL} len 8 proto ESP (50) spi 0x0000dead seq 0x12c",
        excuses=ipsec_over_ipv6,
        row="ESP and AH over IPv6",
    ),
    Difference(
        "AH over IPv6",
        "The length of AH counts 4 bytes (RFC 4302 2.2) and not 8, as Retis has it: what follows is read at "
        "the wrong place. Printed as over IPv4.",
        frames.ethernet(0x86DD, frames.ipv6(51, frames.ah(6, frames.tcp()))),
        f"{_LABEL} len 44 exts [Ah] proto TCP (6){TRUNCATED}",
        f"{_LABEL} len 44 proto AH (51) spi 0x00000011 seq 0x22 icv 0x{'aa' * 12}{_TCP6}",
        excuses=ipsec_over_ipv6,
        row="ESP and AH over IPv6",
    ),
    Difference(
        # Nothing in Retis' text tells it from a good one: random packets have the byte at 0, as senders do.
        "IPv6 fragment header, reserved byte",
        "It is no length: the header has 8 bytes and receivers ignore the byte (RFC 8200 4.5).",
        frames.ethernet(0x86DD, frames.ipv6(44, frames.extension(6, bytes(6), second=1) + frames.tcp())),
        f"{_LABEL} len 28 exts [Ipv6Frag] proto TCP (6){TRUNCATED}",
        f"{_LABEL} len 28 exts [Ipv6Frag]{_TCP6}",
    ),
    Difference(
        "fragments after the first",
        "Only the first fragment has the transport header (RFC 791 3.2, RFC 8200 4.5): Retis reads ports and "
        "more from the payload of the others.",
        frames.ethernet(0x800, frames.ipv4(17, frames.udp(b"abcd"), fragment=0x4001)),
        "10.0.0.1.10 > 10.0.0.2.20 tos 0x0 ttl 64 id 7 off 8 [DF] len 32 proto UDP (17) len 4",
        "10.0.0.1 > 10.0.0.2 tos 0x0 ttl 64 id 7 off 8 [DF] len 32 proto UDP (17)",
        excuses=later_fragment,
    ),
    Difference(
        "IPv6 fragments after the first",
        "As over IPv4.",
        frames.ethernet(0x86DD, frames.ipv6(44, frames.fragment(17, frames.udp(b"abcd"), offset=8))),
        f"{_LABEL} len 20 exts [Ipv6Frag] proto UDP (17) len 4",
        f"{_LABEL} len 20 exts [Ipv6Frag] proto UDP (17)",
        excuses=later_fragment,
        row="fragments after the first",
    ),
    Difference(
        "IP length of 0",
        "The kernel hasn't filled it in yet, or the packet is too large for it (BIG TCP): it says nothing "
        "about what is there. The length of the packet does.",
        frames.ethernet(0x800, frames.ipv4(6, frames.tcp(b"abc"), length=0)),
        f"10.0.0.1 > 10.0.0.2 tos 0x0 ttl 64 id 7 off 0 proto TCP (6){TRUNCATED}",
        "10.0.0.1.10 > 10.0.0.2.20 tos 0x0 ttl 64 id 7 off 0 proto TCP (6) "
        "flags [.] seq 100:103 ack 5 win 1000",
        excuses=no_length,
    ),
    Difference(
        "IPv6 length of 0",
        "As over IPv4; a jumbogram has its length in an option (RFC 2675).",
        frames.ethernet(0x86DD, frames.ipv6(0, frames.jumbo(6, 70000) + frames.tcp(), length=0)),
        f"{_LABEL} proto (0)... (protocol 0x0 not supported, use 'retis pcap')",
        f"{_LABEL} exts [Hopopt] proto TCP (6) flags [.] seq 100:70072 ack 5 win 1000",
        excuses=no_length,
        row="IP length of 0",
    ),
    Difference(
        "IPv6 no next header, after an extension header",
        "It is no protocol that could be supported: the packet ends there (RFC 8200 4.7), as it does for "
        "Retis directly after the IPv6 header.",
        frames.ethernet(0x86DD, frames.ipv6(0, frames.extension(59))),
        f"{_LABEL} len 8 exts [Hopopt] proto (59)... (protocol 0x3b not supported, use 'retis pcap')",
        f"{_LABEL} len 8 exts [Hopopt]",
        retis=nothing_further,
    ),
    Difference(
        "IPv4 options",
        "Named as in RFC 791 and by IANA; Retis prints a type of its source and the number without flag and "
        "class.",
        frames.ethernet(0x800, frames.ipv4(1, b"\x08\0\0\0", options=b"\x94\4\0\0\x86\2\1\1")),
        f"{_ECHO.format(32)} opts [Ipv4OptionNumber(20),Ipv4OptionNumber(6),Ipv4OptionNumber(1),"
        f"Ipv4OptionNumber(1)]{_ICMP}",
        f"{_ECHO.format(32)} opts [ra,opt-134,nop,nop]{_ICMP}",
        fyke=numbered_options,
    ),
    Difference(
        # Without the link layer there is nothing to reconcile.
        "Geneve payload that isn't a frame, with `-e`",
        "Where Retis ends the link layer's text it adds a space for a payload that has no link layer.",
        frames.ethernet(
            0x800, frames.ipv4(17, frames.udp(frames.geneve(_INNER, ethertype=0x800), port=6081))
        ),
        f"{_GENEVE} proto IPv4 (0x0800)  {_ECHO.format(24)}{_ICMP}",
        f"{_GENEVE} proto IPv4 (0x0800) {_ECHO.format(24)}{_ICMP}",
        link_layer=True,
    ),
)
