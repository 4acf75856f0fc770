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
        (b"\x94\4\0\0", "[Ipv4OptionNumber(20)]"),
        (b"\1\1\7\0", "[Ipv4OptionNumber(1),Ipv4OptionNumber(1),Ipv4OptionNumber(7)]"),
        (b"\1\0\7\0", "[Ipv4OptionNumber(1),Ipv4OptionNumber(0)]"),
    ],
)
def test_options(options: bytes, expected: str) -> None:
    assert _header(options=options) == f"tos 0x0 ttl 64 id 7 off 0 len 28 opts {expected}"


def test_padding_alone_is_no_option() -> None:
    assert _header(options=bytes(4)) == "tos 0x0 ttl 64 id 7 off 0 len 28"


def test_length_not_filled_in_yet() -> None:
    assert _header(length=0) == "tos 0x0 ttl 64 id 7 off 0"


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


@pytest.mark.parametrize("number", [0, 2, 4, 41, 47, 143, 255])
def test_protocols_that_nobody_dissects(number: int) -> None:
    name = f"{PROTOCOLS[number]} " if number in PROTOCOLS else ""
    assert _text(frames.ipv4(number)).endswith(
        f" proto {name}({number})... (protocol 0x{number:x} not supported)"
    )
