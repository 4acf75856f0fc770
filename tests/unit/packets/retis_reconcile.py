"""How texts that differ on purpose are made comparable, for retis_differences.py.

The first kind rewrites the text of one side. The second, given both texts, says whether they are the same as
far as Retis' goes, and differ from there on for the one reason.
"""

from __future__ import annotations

import re

from retis_oracle import CRASHED

TRUNCATED = "... (truncated or incomplete packet)"


def swap_fragment_flags(text: str) -> str:
    def swapped(match: re.Match[str]) -> str:
        other = {"+": "rsvd", "rsvd": "+", "DF": "DF"}
        flags = {other[flag] for flag in match[2].split(",")}
        return f"{match[1]}[{','.join(flag for flag in ('+', 'DF', 'rsvd') if flag in flags)}]"

    return re.sub(r"( off \d+ )\[([^]]+)\]", swapped, text)


def one_number(text: str) -> str:
    return re.sub(
        r"(tfo cookie )((?:0x[0-9a-f]{2}|\?\?)+)", lambda m: f"{m[1]}0x{m[2].replace('0x', '')}", text
    )


def without_dscp(text: str) -> str:
    return re.sub(r" tos 0x[0-9a-f]+((?: ECT\([01]\)| CE)? ttl \d+ label )", r"\1", text)


def ipsec_over_ipv6(theirs: str, ours: str) -> bool:
    """Equal up to the AH or ESP header, which both name at the same place."""
    if theirs == CRASHED:
        return (
            re.search(r" label \S+( len \d+)?( exts \[\S+\])? proto (ESP \(50\)|AH \(51\))", ours) is not None
        )
    found = re.search(r" exts \[([A-Za-z0-9,]*?),?\b(Esp|Ah)\b", theirs)
    if found is None:
        return False
    before = f" exts [{found[1]}]" if found[1] else ""
    protocol = "ESP (50)" if found[2] == "Esp" else "AH (51)"
    return ours.startswith(f"{theirs[: found.start()]}{before} proto {protocol}")


def short_extension(theirs: str, ours: str) -> bool:
    return theirs == CRASHED and re.search(r" exts \[\S+\]\.\.\. \(truncated", ours) is not None


def short_macsec(theirs: str, ours: str) -> bool:
    return theirs == CRASHED and ours.endswith(TRUNCATED) and " exts " not in ours


_DISSECTED = "|".join(
    [f"protocol 0x{number:x}" for number in (2, 4, 41, 47, 137, 143)]
    + [f"ethertype 0x{number:04x}" for number in (0x8035, 0x8847, 0x8848)]
)
"""What Retis says of those that it has a name for at most, and fyke has a dissector for."""


def dissected_here(theirs: str, ours: str) -> bool:
    """Ours goes on where Retis ends: with a space where a header is before it, or with the first word."""
    found = re.search(rf"\.\.\. \(({_DISSECTED}) not supported\)$", theirs)
    return found is not None and ours.startswith(theirs[: found.start()]) and ours != theirs


def without_name_of_mpls(text: str) -> str:
    return text.replace(" proto MPLS (137)", " proto (137)")


_IPV4_OPTIONS = {
    "eol": 0, "nop": 1, "rr": 7, "ts": 68, "sec": 130, "lsrr": 131, "sid": 136, "ssrr": 137, "ra": 148
}  # fmt: skip


def numbered_options(text: str) -> str:
    def numbered(match: re.Match[str]) -> str:
        kinds = [
            _IPV4_OPTIONS[name] if name in _IPV4_OPTIONS else int(name[4:]) for name in match[1].split(",")
        ]
        return f" opts [{','.join(f'Ipv4OptionNumber({kind & 31})' for kind in kinds)}] proto "

    return re.sub(r" opts \[([^]]+)\] proto ", numbered, text)


def nothing_further(text: str) -> str:
    return re.sub(r"( exts \[\S+\]) proto \(59\)\.\.\. \(protocol 0x3b not supported\)$", r"\1", text)


def _maybe_with_ports(text: str) -> str:
    """A pattern for this text, whose last addresses may have ports."""
    before, _, after = re.escape(text).rpartition(r"\ >\ ")
    address, _, rest = after.partition(r"\ ")
    return rf"{before}(\.\d+)? > {address}(\.\d+)?\ {rest}"


def later_fragment(theirs: str, ours: str) -> bool:
    """Ours ends where the payload begins; Retis goes on, and may crash over it."""
    ipv4 = r" off [1-9]\d*( \[\S+\])?( len \d+)?( opts \[\S+\])? proto [^.]+$"
    ipv6 = r"(.* exts \[(\S+,)?Ipv6Frag)\]( proto [^.]+)?$"
    if re.search(ipv4, ours):
        return theirs == CRASHED or re.match(_maybe_with_ports(ours), theirs) is not None
    # Retis may find more extension headers in the payload.
    found = re.match(ipv6, ours)
    return found is not None and (theirs == CRASHED or theirs.startswith(found[1]))


def no_length(theirs: str, ours: str) -> bool:
    """Equal up to where the length would be, behind which Retis finds nothing."""
    ipv4 = r" off \d+( \[\S+\])?( opts \[\S+\])?(?= proto )"
    ipv6 = r" label 0x[0-9a-f]+(?= proto )"
    found = re.search(rf"({ipv4}|{ipv6}) proto [^.]+\.\.\. \([^)]*\)$", theirs)
    if found is None:
        return False
    return re.match(_maybe_with_ports(theirs[: found.end(1)]) + " (proto|exts) ", ours) is not None
