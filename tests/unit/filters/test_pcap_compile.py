"""From text to cBPF: what is accepted, and what is said about what isn't."""

from __future__ import annotations

from pathlib import Path
from random import Random

import cypcap
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pcap_expressions import expression

from fyke.errors import UsageError
from fyke.filters.pcap.compile import (
    MAX_TEXT,
    MAX_UNOPTIMISED,
    compile_packet_filter,
    read_filter_file,
)
from fyke.filters.pcap.place import Token, find_place, tokens


def error(text: str) -> UsageError:
    with pytest.raises(UsageError) as raised:
        compile_packet_filter(text)
    assert raised.value.hint
    return raised.value


def caret(text: str) -> str:
    """Return what the caret of an error points at, to the end of the line; empty: the end."""
    message = error(text).message
    _, line, marker = message.split("\n")
    return line[marker.index("^") :]


def test_programs_are_those_of_libpcap() -> None:
    for link, program in (
        ("EN10MB", compile_packet_filter("tcp port 80").ethernet),
        ("RAW", compile_packet_filter("tcp port 80").raw),
    ):
        pcap = cypcap.open_dead(cypcap.DatalinkType[link], 262_144)
        assert [tuple(insn) for insn in program or ()] == list(pcap.compile("tcp port 80"))
        pcap.close()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("arp", "no packet without a link-layer header can match"),
        ("vlan 5 and tcp", "no VLAN support for Raw IP"),
        ("ether src 02:00:00:00:00:01", "ethernet addresses supported only"),
        ("mpls", "no MPLS support"),
        ("tcp or ether[6] == 2", "`ether[...]` reads the link-layer header"),
        ("link [0] = 1", "`link[...]` reads the link-layer header"),
        ("tr[0] = 1", "`tr[...]` reads the link-layer header"),
    ],
)
def test_only_with_link_layer(text: str, why: str) -> None:
    packet_filter = compile_packet_filter(text)
    assert packet_filter.ethernet
    assert packet_filter.raw is None
    assert why in packet_filter.why_no_raw


@pytest.mark.parametrize("text", ["arp or tcp", "ether proto 0x800", "less 100", "ip6 proto 17"])
def test_also_without_link_layer(text: str) -> None:
    packet_filter = compile_packet_filter(text)
    assert packet_filter.raw is not None
    assert not packet_filter.why_no_raw


@pytest.mark.parametrize(
    ("text", "sees"),
    [
        ("vlan", True),
        ("(vlan)", True),
        ("not(vlan 5)or tcp", True),
        ("tcp", False),
        ("ether proto 0x8100", False),
    ],
)
def test_sees_vlan(text: str, sees: bool) -> None:
    assert compile_packet_filter(text).sees_vlan is sees


@pytest.mark.parametrize(
    ("text", "reason", "rest"),
    [
        ("tcp prot 80", "syntax error, at character 5", "prot 80"),
        ("foo", "syntax error", "foo"),
        ("tcp and and udp", "syntax error", "and udp"),
        ("tcp or foo and bar", "syntax error", "foo and bar"),
        ("(tcp or (udp and port)) and ip", "syntax error", ")) and ip"),
        ("tcp)", "syntax error", ")"),
        ("tcp ; udp", "syntax error", "; udp"),
        ("tcp # a comment", "syntax error", "# a comment"),
        ("ip[0:2 = 4", "syntax error", "= 4"),
        ("ip[0]] = 4", "syntax error", "] = 4"),
        ("udp port 5 and 'tcp'", "syntax error", "'tcp'"),
        ("tcp and", "syntax error, at the end", ""),
        ("(tcp", "syntax error, at the end", ""),
        ("tcp[0", "syntax error, at the end", ""),
        ("not", "syntax error, at the end", ""),
        ("net 10.0.0.0/33 and tcp", "mask length must be <= 32", "33 and tcp"),
        ("ip and port 99999", "illegal port number", "99999"),
        ("tcp and port foo", "unknown port 'foo'", "foo"),
        ("ip proto foo or tcp", "unknown ip proto 'foo'", "foo or tcp"),
        (r"ip proto \tcp or ip proto \foo", "unknown ip proto 'foo'", r"\foo"),
        ("tcp and ip host fe80::1", "'ip' modifier applied to ip6 host", "fe80::1"),
        ("ip[0]/0=1", "division by zero", "0=1"),
        ("ether[0:3]=1", "data size must be 1, 2, or 4", "3]=1"),
        ("tcp and vci 5", "'vci' supported only on raw ATM", "vci 5"),
        ("ip broadcast and tcp", "netmask not known", "broadcast and tcp"),
        ("tcp\n or udp\n or prot 5", "syntax error", "prot 5"),
        ("tcp and outbound", "`outbound` isn't known here", "outbound"),
        ("inbound", "`inbound` isn't known here", "inbound"),
        ("ip6 protochain 6 or tcp", "`protochain` follows headers in a loop", "protochain 6 or tcp"),
        ("ip protochain 6", "`protochain`", "protochain 6"),
    ],
)
def test_errors_point_at_the_place(text: str, reason: str, rest: str) -> None:
    assert reason in error(text).message
    assert caret(text) == rest


def test_a_hint_says_how_else_the_direction_is_known() -> None:
    # skb->pkt_type is PACKET_OUTGOING only in copies for packet sockets (dev_queue_xmit_nit()).
    assert "net:net_dev_start_xmit sends" in error("outbound").hint


def test_unknown_hosts_are_named_without_looking_them_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "unknown host 'no-such-host.invalid'" in error("tcp and host no-such-host.invalid or udp").message
    assert caret("tcp and host no-such-host.invalid or udp") == "no-such-host.invalid or udp"


@pytest.mark.parametrize("text", ["", " ", "\n\t "])
def test_empty(text: str) -> None:
    assert "is empty" in error(text).message


@pytest.mark.parametrize(
    ("text", "place"),
    [("\0tcp", "1, U+0000"), ("tcp\0", "4, U+0000"), ("tcp é", "5, U+00E9"), ("a\x1b[1m", "2, U+001B")],
)
def test_strange_characters(text: str, place: str) -> None:
    assert f"character {place}" in error(text).message
    assert text.strip() not in error(text).message  # nothing strange reaches the terminal


def test_contradictions() -> None:
    assert "no packet can match" in error("ip and ip6").message


def test_extension_loads() -> None:
    assert "extensions" in error("ether[0xfffff004:2] = 4").message
    assert compile_packet_filter("ether[0xffffffff] = 4")  # only an offset that no packet has


def test_too_long_a_text() -> None:
    message = error("tcp or " * 2000 + "tcp").message
    assert "14,003 characters" in message
    assert f"{MAX_TEXT:,}" in message


def test_too_many_terms() -> None:
    message = error(" or ".join(f"port {n}" for n in range(1, 140))).message
    assert f"at most {MAX_UNOPTIMISED:,}" in message
    assert "cBPF instructions" in message


def test_long_lines_are_cut_around_the_place() -> None:
    text = " or ".join(["tcp"] * 60) + " prot " + " or tcp" * 60
    assert caret(text).startswith("prot")
    assert max(map(len, error(text).message.split("\n"))) < 110


def test_what_may_go_on_is_never_the_place() -> None:
    """Every beginning of a valid expression could go on: no word of it is taken for the wrong one."""
    random = Random(3)
    for _ in range(1000):
        text = expression(random)
        try:
            compile_packet_filter(text)
        except UsageError:
            continue
        words = tokens(text)
        assert error_place(text + " prot") == Token(len(text) + 1, "prot"), text
        assert "".join(word.text for word in words) == "".join(text.split())


def error_place(text: str) -> Token | None:
    def reason_of(other: str) -> str | None:
        pcap = cypcap.open_dead(cypcap.DatalinkType.EN10MB, 262_144)
        try:
            pcap.compile(other, optimize=False)
        except cypcap.Error as failed:
            return str(failed.args[-1]).removeprefix("can't parse filter expression: ")
        finally:
            pcap.close()
        return None

    reason = reason_of(text)
    assert reason is not None
    return find_place(text, reason, reason_of)


WORDS = st.sampled_from(
    ["tcp", "ip", "(", ")", "[", "]", "and", "or", "not", "port", "80", "host", "1", "=", ":"]
)


@given(st.text(max_size=40) | st.lists(WORDS, max_size=12).map(" ".join))
def test_any_text(text: str) -> None:
    try:
        message = ""
        assert compile_packet_filter(text).ethernet
    except UsageError as refused:
        message = refused.message
    assert message.replace("\n", "").isprintable() or not message


def test_filter_files(tmp_path: Path) -> None:
    file = tmp_path / "filter"
    file.write_text("# web\ntcp port 80 # http\n  or udp # all of it\n#end")
    assert (
        compile_packet_filter(read_filter_file(file)).ethernet
        == compile_packet_filter("tcp port 80 or udp").ethernet
    )


def test_filter_files_that_cant_be_read(tmp_path: Path) -> None:
    for content in (None, b"\xff\xfe"):
        file = tmp_path / "filter"
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(UsageError, match=str(file)):
            read_filter_file(file)
    with pytest.raises(UsageError, match=r"\\x1b\[31mnone: No such file"):
        read_filter_file(tmp_path / "\x1b[31mnone")
    with pytest.raises(UsageError, match="Is a directory"):
        read_filter_file(tmp_path)
    with pytest.raises(UsageError, match="more than 65,536 bytes"):
        read_filter_file("/dev/zero")
