"""From the text of an expression to cBPF, by libpcap."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from fyke.errors import UsageError
from fyke.events.escape import printable
from fyke.filters.pcap import libpcap
from fyke.filters.pcap.classic import ABS, EXTENSIONS, LD, ClassicInsn, Program, goes_back
from fyke.filters.pcap.libpcap import Refused
from fyke.filters.pcap.place import Token, find_place, pointed, tokens

SNAPLEN = 262_144  # what a matching program returns, as tcpdump's does

# libpcap's optimiser takes time with the third power of the size: one to a few seconds at the limit.
MAX_TEXT = 4_096
MAX_UNOPTIMISED = 6_000
MAX_FILE_BYTES = 65_536  # with its comments

REJECTS_ALL = "expression rejects all packets"  # libpcap's optimiser on expressions that can't be true
LINK_LAYER = "ether|link|fddi|tr|wlan|ppp|slip"  # what takes `[...]` and means the link layer

GRAMMAR_HINT = "pcap-filter(7) has the language"
SHORTER = "`port 1 or 2`, portrange, net and byte accessors say much in little; or filter with fewer terms"


@dataclass(frozen=True, slots=True)
class PacketFilter:
    """An expression and its programs.

    ethernet: for packets that begin with an Ethernet header. raw: for those that begin with the network
    header; None when the expression means nothing there, and why_no_raw says why. sees_vlan: `vlan` is in it,
    so that a tag which the kernel keeps beside the packet (skb->vlan_tci) must be put back into the bytes
    first.
    """

    text: str
    ethernet: Program
    raw: Program | None
    why_no_raw: str
    sees_vlan: bool


def compile_packet_filter(text: str) -> PacketFilter:
    """Compile an expression of pcap-filter(7). Host names are looked up, as tcpdump does.

    Raises UsageError, with the place where it can be told.
    """
    _check_text(text)
    try:
        _check_size(_compiled(text, "EN10MB", optimise=False))
        ethernet = _compiled(text, "EN10MB", optimise=True)
    except Refused as refused:
        raise _error(text, refused.reason) from None
    _check_program(text, ethernet)
    raw, why = _compile_raw(text)
    if raw is not None:
        _check_program(text, raw)
    return PacketFilter(text, ethernet, raw, why, sees_vlan=_word(text, "vlan") is not None)


def read_filter_file(path: str | Path) -> str:
    """Return the expression in a file, read as `tcpdump -F` does: `#` to the end of a line is a comment.

    Raises UsageError when it can't be read.
    """
    shown = printable(str(path))
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            raise UsageError(f"the filter file {shown} has more than {MAX_FILE_BYTES:,} bytes", SHORTER)
        text = content.decode()
    except OSError as error:
        raise UsageError(f"can't read the filter file {shown}: {error.strerror}") from None
    except ValueError:
        hint = "it holds one expression of pcap-filter(7)"
        raise UsageError(f"the filter file {shown} isn't text", hint) from None
    return re.sub("#[^\n]*", "", text).strip()


def _check_text(text: str) -> None:
    if not text.strip():
        raise UsageError("the packet filter is empty", "leave the option out to take every packet")
    if len(text) > MAX_TEXT:
        raise UsageError(
            f"the packet filter has {len(text):,} characters; at most {MAX_TEXT:,} are taken", SHORTER
        )
    strange = re.search(r"[^ -~\t\r\n]", text)
    if strange:
        place = f"character {strange.start() + 1}, U+{ord(strange[0]):04X}"
        message = f"the packet filter has a character that isn't allowed: {place}"
        raise UsageError(message, "expressions are written in ASCII")


def _check_size(unoptimised: Program) -> None:
    """Refuse what would take too long to optimise."""
    if len(unoptimised) > MAX_UNOPTIMISED:
        sizes = (
            f"{len(unoptimised):,} cBPF instructions before optimising; at most {MAX_UNOPTIMISED:,} are taken"
        )
        raise UsageError(f"the packet filter is too large: {sizes}", SHORTER)


def _compile_raw(text: str) -> tuple[Program | None, str]:
    """Return the program for packets without a link-layer header, or the reason why there is none."""
    accessor = re.search(rf"\b({LINK_LAYER})\s*\[", text)
    if accessor:  # libpcap would read the network header instead, and match by chance
        return None, f"`{accessor[1]}[...]` reads the link-layer header"
    try:
        return _compiled(text, "RAW", optimise=True), ""
    except Refused as refused:
        nothing = refused.reason == REJECTS_ALL
        return None, "no packet without a link-layer header can match" if nothing else refused.reason


def _compiled(text: str, link: str, *, optimise: bool) -> Program:
    """Compile for a type of link. Raises Refused."""
    return tuple(ClassicInsn(*insn) for insn in libpcap.compiled(text, link, SNAPLEN, optimise=optimise))


def _reason(text: str) -> str | None:
    """Return why an expression isn't accepted; None when it is."""
    try:
        _compiled(text, "EN10MB", optimise=False)
    except Refused as refused:
        return refused.reason
    return None


def _error(text: str, reason: str) -> UsageError:
    if reason == REJECTS_ALL:
        return UsageError(
            "no packet can match this packet filter",
            "its terms contradict each other: " + " ".join(text.split()),
        )
    return UsageError(
        f"packet filter: {reason}{pointed(text, find_place(text, reason, _reason))}", GRAMMAR_HINT
    )


def _check_program(text: str, program: Program) -> None:
    """Refuse what libpcap compiles and can't be done here."""
    for insn in program:
        if insn.kind == LD and insn.mode == ABS and insn.k in EXTENSIONS:
            raise _no_extension(text)
    if goes_back(program):
        place = _word(text, "protochain")
        message = "packet filter: `protochain` follows headers in a loop, which isn't done in the kernel"
        raise UsageError(
            message + pointed(text, place), "name the headers: `ip6 proto N`, or bytes such as `ip6[40] == N`"
        )


def _no_extension(text: str) -> UsageError:
    place = _word(text, "inbound", "outbound")
    if place is None:
        message = "packet filter: offsets from 0xfffff000 on mean Linux' extensions, not bytes of the packet"
        return UsageError(message, "load from the packet's own bytes")
    message = (
        f"packet filter: `{place.text}` isn't known here: only packet sockets know the direction of a packet"
    )
    hint = "the probe tells the direction: net:netif_receive_skb receives, net:net_dev_start_xmit sends"
    return UsageError(message + pointed(text, place), hint)


def _word(text: str, *words: str) -> Token | None:
    return next((token for token in tokens(text) if token.text in words), None)
