import frames
import pytest

from fyke.packets import text
from fyke.packets.assigned import PROTOCOLS

_TRUNCATED = "... (truncated or incomplete packet)"


def _text(packet: bytes) -> str:
    frame = frames.ethernet(0x800, packet)
    return text(frame, len(frame))


def _header(**fields: int | bytes) -> str:
    """The text between addresses and protocol."""
    line = _text(frames.ipv4(1, b"\x08\0\0\0", **fields))  # type: ignore[arg-type]
    assert line.startswith("10.0.0.1 > 10.0.0.2 tos ")
    return line.removeprefix("10.0.0.1 > 10.0.0.2 ").partition(" proto ")[0]


@pytest.mark.parametrize(
    ("tos", "expected"), [(0, "0x0"), (1, "0x0 ECT(1)"), (2, "0x0 ECT(0)"), (3, "0x0 CE"), (0xB8, "0x2e")]
)
def test_tos(tos: int, expected: str) -> None:
    assert _header(tos=tos) == f"tos {expected} ttl 64 id 7 off 0 len 24"


@pytest.mark.parametrize(
    ("fragment", "expected"),
    [
        (0x2000, "0 [+]"),
        (0x4000, "0 [DF]"),
        (0x8000, "0 [rsvd]"),
        (0xFFFF, "65528 [+,DF,rsvd]"),
        (0x20B9, "1480 [+]"),
    ],
)
def test_fragments(fragment: int, expected: str) -> None:
    assert _header(fragment=fragment) == f"tos 0x0 ttl 64 id 7 off {expected} len 24"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (b"\x94\4\0\0", "[ra]"),
        (b"\1\1\7\0", "[nop,nop,rr]"),
        (b"\1\0\7\0", "[nop,eol]"),
        (b"\x44\4\5\0", "[ts]"),
        (b"\x82\2\x83\2", "[sec,lsrr]"),
        (b"\x88\2\x89\2", "[sid,ssrr]"),
        # Retis' number 4 is a timestamp only in its class.
        (b"\4\2\x86\2", "[opt-4,opt-134]"),
    ],
)
def test_options(options: bytes, expected: str) -> None:
    assert _header(options=options) == f"tos 0x0 ttl 64 id 7 off 0 len 28 opts {expected}"


def test_padding_alone_is_no_option() -> None:
    assert _header(options=bytes(4)) == "tos 0x0 ttl 64 id 7 off 0 len 28"


def test_length_not_filled_in_yet() -> None:
    assert _header(length=0) == "tos 0x0 ttl 64 id 7 off 0"
    packet = frames.ipv4(6, frames.tcp(b"abc"), length=0)
    assert _text(packet) == (
        "10.0.0.1.10 > 10.0.0.2.20 tos 0x0 ttl 64 id 7 off 0 proto TCP (6) "
        "flags [.] seq 100:103 ack 5 win 1000"
    )


def test_length_too_large_for_its_field() -> None:
    frame = frames.ethernet(0x800, frames.ipv4(6, frames.tcp(b"abc"), length=0))
    assert " seq 100:70060 " in text(frame, 14 + 40 + 69960)


@pytest.mark.parametrize("wire_bytes", [0, 53])
def test_what_was_captured_counts_without_a_length(wire_bytes: int) -> None:
    frame = frames.ethernet(0x800, frames.ipv4(6, frames.tcp(b"abc"), length=0))
    assert " seq 100:103 " in text(frame, wire_bytes)


def test_truncated_without_a_length() -> None:
    assert _text(frames.ipv4(6, frames.tcp()[:19], length=0)).endswith(f" off 0 proto TCP (6){_TRUNCATED}")


@pytest.mark.parametrize(
    ("protocol", "name", "payload"),
    [
        (6, "TCP", frames.tcp(b"abc")),
        (17, "UDP", frames.udp(frames.vxlan(b""), port=4789)),
        (132, "SCTP", frames.sctp(frames.chunk(11))),
        (50, "ESP", frames.esp()),
        (1, "ICMP", b""),
        (47, "GRE", b"anything"),
    ],
)
@pytest.mark.parametrize(("fragment", "flags"), [(1, ""), (0x2001, " [+]")])
def test_later_fragments_are_payload(
    protocol: int, name: str, payload: bytes, fragment: int, flags: str
) -> None:
    length = 20 + len(payload)
    assert _text(frames.ipv4(protocol, payload, fragment=fragment)) == (
        f"10.0.0.1 > 10.0.0.2 tos 0x0 ttl 64 id 7 off 8{flags} len {length} proto {name} ({protocol})"
    )


def test_the_first_fragment_has_the_header() -> None:
    assert _text(frames.ipv4(17, frames.udp(b"abc", length=3008), fragment=0x2000)) == (
        "10.0.0.1.10 > 10.0.0.2.20 tos 0x0 ttl 64 id 7 off 0 [+] len 31 proto UDP (17) len 3000"
    )


@pytest.mark.parametrize("size", [0, 19])
def test_short_header(size: int) -> None:
    assert _text(frames.ipv4(6)[:size]) == _TRUNCATED


def test_ports_need_the_whole_transport_header() -> None:
    packet = frames.ipv4(6, frames.tcp())
    assert _text(packet).startswith("10.0.0.1.10 > 10.0.0.2.20 ")
    assert (
        _text(packet[:-1])
        == f"10.0.0.1 > 10.0.0.2 tos 0x0 ttl 64 id 7 off 0 len 40 proto TCP (6){_TRUNCATED}"
    )


def test_padding_of_the_frame_is_no_payload() -> None:
    assert _text(frames.ipv4(6, frames.tcp()) + bytes(6)) == _text(frames.ipv4(6, frames.tcp()))
    assert _text(frames.ipv4(6, frames.tcp(), length=39)).endswith(f"proto TCP (6){_TRUNCATED}")


@pytest.mark.parametrize("number", [0, 33, 89, 112, 115, 255])
def test_protocols_that_nobody_dissects(number: int) -> None:
    name = f"{PROTOCOLS[number]} " if number in PROTOCOLS else ""
    assert _text(frames.ipv4(number)).endswith(
        f" proto {name}({number})... (protocol 0x{number:x} not supported)"
    )
