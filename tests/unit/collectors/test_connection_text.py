"""Connections: raw values of the kernel to columns, columns to text."""

from __future__ import annotations

import struct
from ipaddress import ip_address
from typing import Any

import pytest

from fyke.collectors.ct import labels
from fyke.collectors.ct.format import PARTS, ct_text
from fyke.collectors.ct.sections import CT, CT_PARENT
from fyke.collectors.formatting import Style

NATTED = {
    "state": "new",
    "protocol": 6,
    "proto_state": "SYN_SENT",
    "orig_src": "10.0.0.2",
    "orig_dst": "198.51.100.7",
    "orig_sport": 4000,
    "orig_dport": 80,
    "reply_src": "10.1.0.9",
    "reply_dst": "192.0.2.1",
    "reply_sport": 8080,
    "reply_dport": 61000,
    "zone_id": 0,
    "zone_dir": "Default",
    "status": 0x8188,
    "mark": 7,
    "timeout_ms": 119_600,
}
PING = {
    "protocol": 58,
    "orig_src": "fd00::1",
    "orig_dst": "fd00::2",
    "orig_icmp_type": 128,
    "orig_icmp_code": 0,
    "orig_icmp_id": 9,
    "reply_src": "fd00::2",
    "reply_dst": "fd00::1",
    "reply_icmp_type": 129,
    "reply_icmp_code": 0,
    "reply_icmp_id": 9,
    "zone_id": 5,
    "zone_dir": "Original",
    "status": 0,
}


class Kernel:
    """Names of a kernel with BTF of these enums."""

    def __init__(self, enums: dict[str, dict[int, str]] | None = None) -> None:
        self.enums = enums or {}

    def enum(self, type_name: str) -> dict[int, str]:
        return self.enums.get(type_name, {})


def text(
    style: Style,
    ct: dict[str, Any],
    parent: dict[str, Any] | None = None,
    event: tuple[str | None, str | None, str | None] = (None, None, None),
) -> str | None:
    values = [ct.get(c.name) for c in CT.columns] + [(parent or {}).get(c.name) for c in CT_PARENT.columns]
    values += event
    assert len(values) == len(PARTS[0].columns)
    return ct_text(style, *values)


def test_as_retis_has_it() -> None:
    assert text(Style(), NATTED) == (
        "ct_state NEW status 0x8188 tcp (SYN_SENT) orig [10.0.0.2.4000 > 198.51.100.7.80] "
        "reply [10.1.0.9.8080 > 192.0.2.1.61000] zone 0 mark 7"
    )


def test_with_e_status_bits_have_names_and_nat_is_a_difference() -> None:
    assert text(Style(link_layer=True), NATTED) == (
        "ct_state NEW status 0x8188 (confirmed,src_nat_done,dst_nat_done,hw_offload) tcp (SYN_SENT) "
        "orig [10.0.0.2.4000 > 198.51.100.7.80] reply [10.1.0.9.8080 > 192.0.2.1.61000] "
        "snat 10.0.0.2.4000 -> 192.0.2.1.61000 dnat 198.51.100.7.80 -> 10.1.0.9.8080 "
        "zone 0 mark 7 timeout 120s"
    )


def test_without_nat_there_is_no_difference() -> None:
    assert text(Style(link_layer=True), {"state": "established", **PING}) == (
        "ct_state ESTABLISHED status 0x0 icmp orig [fd00::1 > fd00::2 type 128 code 0 id 9] "
        "reply [fd00::2 > fd00::1 type 129 code 0 id 9] orig-zone 5"
    )


@pytest.mark.parametrize(("multi_line", "lead"), [(True, "\n  "), (False, " ")])
def test_the_parent(multi_line: bool, lead: str) -> None:
    found = text(Style(multi_line=multi_line), {"state": "related", **PING}, NATTED)
    assert found is not None
    assert f" orig-zone 5{lead}\\ parent [status 0x8188 tcp (SYN_SENT) orig [" in found


def test_what_isnt_tracked_and_protocols_that_have_no_ports() -> None:
    assert text(Style(), {"state": "untracked"}) == "ct_state UNTRACKED"
    assert text(Style(), {}) is None
    gre = {"state": "new", "protocol": 47, "orig_src": "10.0.0.1", "orig_dst": "10.0.0.2", "zone_id": 0}
    assert text(Style(), gre) == "ct_state NEW status 0x0 gre orig [10.0.0.1 > 10.0.0.2] reply [? > ?]"
    assert text(Style(), {**gre, "protocol": 200}) == (
        "ct_state NEW status 0x0 proto 200 orig [10.0.0.1 > 10.0.0.2] reply [? > ?]"
    )


@pytest.mark.parametrize(
    ("event", "shown"),
    [
        (("created", None, "__nf_conntrack_confirm"), "created by __nf_conntrack_confirm"),
        (("destroyed", "timeout", "gc_worker"), "destroyed (timeout)"),
        (("destroyed", None, None), "destroyed"),
        (("destroyed", "\n", "\n"), "destroyed (\\x0a)"),
    ],
)
def test_what_became_of_a_connection(event: tuple[str, str | None, str | None], shown: str) -> None:
    ends = "orig [fd00::1 > fd00::2 type 128 code 0 id 9] reply [fd00::2 > fd00::1 type 129 code 0 id 9]"
    assert text(Style(), PING, event=event) == f"ct_event {shown} status 0x0 icmp {ends} orig-zone 5"


def test_names_from_a_file_are_harmless() -> None:
    found = text(
        Style(link_layer=True), {**NATTED, "orig_src": "\x1b[2J", "proto_state": "\n", "state": "\r"}
    )
    assert found is not None
    assert found.isprintable()


@pytest.mark.parametrize("address", ["10.1.2.3", "0.0.0.0", "fd00::1", "::ffff:1.2.3.4", "::"])
def test_addresses(address: str) -> None:
    packed = ip_address(address).packed
    raw = struct.pack("=I", 2 if len(packed) == 4 else 10) + packed.ljust(16, b"\0")
    assert labels.address(raw, Kernel()) == address


def test_no_address() -> None:
    assert labels.address(bytes(20), Kernel()) is None


@pytest.mark.parametrize(
    ("raw", "enums", "name"),
    [
        (0, {}, None),
        (6 << 8 | 1, {}, "SYN_SENT"),
        (6 << 8 | 1, {"tcp_conntrack": {1: "TCP_CONNTRACK_SYN_SENT_TOO"}}, "SYN_SENT_TOO"),
        (132 << 8 | 4, {}, "ESTABLISHED"),
        (6 << 8 | 77, {}, "77"),
        (99 << 8 | 7, {}, "7"),
    ],
)
def test_states_of_protocols(raw: int, enums: dict[str, dict[int, str]], name: str | None) -> None:
    assert labels.protocol_state(raw, Kernel(enums)) == name


def test_states_and_zones_of_later_kernels_are_numbers() -> None:
    assert [labels.state(n, Kernel()) for n in (0, 2, 7, 6)] == ["established", "new", "untracked", "6"]
    assert [labels.direction(n, Kernel()) for n in (3, 255, 9)] == ["Default", None, "9"]
    assert labels.status_names(1 << 20 | 8) == "confirmed,0x100000"
