import ipaddress

import frames
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fyke.packets import text
from fyke.packets.ipv6 import EXTENSIONS, address

_TRUNCATED = "... (truncated or incomplete packet)"
_TCP = " proto TCP (6) flags [.] seq 100 ack 5 win 1000"


def _text(packet: bytes) -> str:
    frame = frames.ethernet(0x86DD, packet)
    return text(frame, len(frame))


def test_plain() -> None:
    packet = frames.ipv6(6, frames.tcp(), label=0x6F48A)
    assert _text(packet) == f"::1.10 > ::2.20 ttl 64 label 0x6f48a len 20{_TCP}"


@pytest.mark.parametrize(
    ("traffic_class", "expected"),
    [(0, ""), (1, " ECT(1)"), (2, " ECT(0)"), (3, " CE"), (0x28, " tos 0xa"), (0xFF, " tos 0x3f CE")],
)
def test_traffic_class(traffic_class: int, expected: str) -> None:
    packet = frames.ipv6(59, traffic_class=traffic_class)
    assert _text(packet) == f"::1 > ::2{expected} ttl 64 label 0x0"


def test_no_next_header() -> None:
    assert _text(frames.ipv6(59, b"ignored")) == "::1 > ::2 ttl 64 label 0x0 len 7"


def test_no_next_header_after_an_extension_header() -> None:
    packet = frames.ipv6(0, frames.extension(60) + frames.extension(59) + b"ignored")
    assert _text(packet) == "::1 > ::2 ttl 64 label 0x0 len 23 exts [Hopopt,Ipv6Opts]"


def test_length_not_filled_in_yet() -> None:
    assert _text(frames.ipv6(6, frames.tcp(b"abc"), length=0)) == (
        "::1.10 > ::2.20 ttl 64 label 0x0 proto TCP (6) flags [.] seq 100:103 ack 5 win 1000"
    )
    behind = frames.ipv6(0, frames.extension(6) + frames.tcp(b"abc"), length=0)
    assert _text(behind).endswith(
        " label 0x0 exts [Hopopt] proto TCP (6) flags [.] seq 100:103 ack 5 win 1000"
    )


def test_length_too_large_for_its_field() -> None:
    frame = frames.ethernet(0x86DD, frames.ipv6(6, frames.tcp(b"abc"), length=0))
    assert " seq 100:70060 " in text(frame, 14 + 60 + 69960)


@pytest.mark.parametrize(
    "header",
    [
        frames.jumbo(6, 70028),
        # Behind a router alert and padding, in options of 16 bytes.
        frames.extension(6, bytes.fromhex("05020000 010000 c2040001118c 00")),
    ],
)
def test_jumbogram(header: bytes) -> None:
    packet = frames.ipv6(0, header + frames.tcp(b"abc"), length=0)
    payload = 70028 - len(header) - 20
    expected = (
        f"::1 > ::2 ttl 64 label 0x0 exts [Hopopt] proto TCP (6) flags [.] seq 100:{100 + payload} ack 5 "
    )
    assert _text(packet).startswith(expected)


def test_jumbogram_of_udp() -> None:
    header = frames.jumbo(17, 70016)
    packet = frames.ipv6(0, header + frames.udp(b"abc", length=0), length=0)
    assert _text(packet) == "::1 > ::2 ttl 64 label 0x0 exts [Hopopt] proto UDP (17) len 70000"


def test_jumbogram_shorter_than_captured() -> None:
    packet = frames.ipv6(0, frames.jumbo(6, 20) + frames.tcp(), length=0)
    assert _text(packet).endswith(f" exts [Hopopt] proto TCP (6){_TRUNCATED}")


@pytest.mark.parametrize("size", range(9))
def test_cut_jumbogram(size: int) -> None:
    exts = f" exts [Hopopt]{_TRUNCATED}" if size in range(2, 8) else ""
    exts = exts or (f" exts [Hopopt] proto TCP (6){_TRUNCATED}" if size == 8 else "")
    exts = exts or " proto (0)... (protocol 0x0 not supported)"
    packet = frames.ipv6(0, frames.jumbo(6, 70000), length=0)[: 40 + size]
    assert _text(packet) == f"::1 > ::2 ttl 64 label 0x0{exts}"


@pytest.mark.parametrize("offset", [8, 0x800, 0xFFF8])
@pytest.mark.parametrize(("protocol", "name"), [(6, "TCP (6)"), (60, "(60)"), (50, "ESP (50)")])
def test_later_fragments_are_payload(offset: int, protocol: int, name: str) -> None:
    packet = frames.ipv6(44, frames.fragment(protocol, frames.tcp(), offset=offset))
    assert _text(packet) == f"::1 > ::2 ttl 64 label 0x0 len 28 exts [Ipv6Frag] proto {name}"


def test_a_later_fragment_of_nothing() -> None:
    packet = frames.ipv6(44, frames.fragment(59, b"", offset=8))
    assert _text(packet) == "::1 > ::2 ttl 64 label 0x0 len 8 exts [Ipv6Frag]"


def test_the_first_fragment_has_the_header() -> None:
    packet = frames.ipv6(44, frames.fragment(6, frames.tcp(), offset=0))
    assert _text(packet) == f"::1 > ::2 ttl 64 label 0x0 len 28 exts [Ipv6Frag]{_TCP}"


def test_every_extension_header_is_stepped_over() -> None:
    payload, protocol = frames.tcp(), 6
    for kind in reversed(EXTENSIONS):
        payload, protocol = frames.extension(protocol, bytes(14 if kind != 44 else 6)) + payload, kind
    names = ",".join(EXTENSIONS.values())
    # The ports are shown only where the transport header comes first, as in Retis.
    assert _text(frames.ipv6(protocol, payload)) == (
        f"::1 > ::2 ttl 64 label 0x0 len {len(payload)} exts [{names}]{_TCP}"
    )


def test_reserved_byte_of_the_fragment_header_is_ignored() -> None:
    clean, reserved = (
        frames.ipv6(44, frames.extension(6, second=byte) + frames.tcp(b"data" * 99)) for byte in (0, 255)
    )
    assert _text(clean) == _text(reserved)


@pytest.mark.parametrize("size", range(2, 16))
def test_short_extension_header(size: int) -> None:
    packet = frames.ipv6(0, frames.extension(60) + frames.extension(6))[: 40 + size]
    names = "Hopopt" if size < 10 else "Hopopt,Ipv6Opts"
    expected = f"::1 > ::2 ttl 64 label 0x0 len 16 exts [{names}]{_TRUNCATED}"
    if size in (8, 9):
        # Nothing of the next one is there: it is left for the protocol, as in Retis.
        expected = (
            "::1 > ::2 ttl 64 label 0x0 len 16 exts [Hopopt] proto (60)... (protocol 0x3c not supported)"
        )
    assert _text(packet) == expected


@pytest.mark.parametrize("size", [0, 39])
def test_short_header(size: int) -> None:
    assert _text(frames.ipv6(6)[:size]) == _TRUNCATED


@given(st.binary(min_size=16, max_size=16))
def test_addresses(raw: bytes) -> None:
    expected = ipaddress.IPv6Address(raw)
    mapped = expected.ipv4_mapped
    assert address(raw) == (f"::ffff:{mapped}" if mapped else expected.compressed)


@given(st.binary(min_size=16, max_size=16), st.lists(st.integers(0, 15)))
def test_addresses_with_zeros(raw: bytes, zeros: list[int]) -> None:
    cleared = bytearray(raw)
    for at in zeros:
        cleared[at] = 0
    test_addresses.hypothesis.inner_test(bytes(cleared))  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("00" * 16, "::"),
        ("00" * 15 + "01", "::1"),
        ("00" * 12 + "01020304", "::102:304"),
        ("00" * 12 + "01020000", "::102:0"),
        ("00" * 10 + "ffff01020304", "::ffff:1.2.3.4"),
        ("20010db8000000010000000000010001", "2001:db8:0:1::1:1"),
    ],
)
def test_address_forms(raw: str, expected: str) -> None:
    assert address(bytes.fromhex(raw)) == expected
