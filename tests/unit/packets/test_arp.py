import frames
import pytest

from fyke.packets import text


def _text(packet: bytes, *, ethertype: int = 0x806) -> str:
    frame = frames.ethernet(ethertype, packet)
    return text(frame, len(frame))


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        (1, "request who-has 10.0.0.2 (0a:0b:0c:0d:0e:0f) tell 10.0.0.1"),
        (2, "reply 10.0.0.1 is-at 01:02:03:04:05:06"),
        (3, "reverse request who-is 0a:0b:0c:0d:0e:0f tell 01:02:03:04:05:06"),
        (4, "reverse reply 0a:0b:0c:0d:0e:0f at 10.0.0.2"),
        (0, "... (ARP operation 0 not supported)"),
        (65535, "... (ARP operation 65535 not supported)"),
    ],
)
def test_operations(operation: int, expected: str) -> None:
    assert _text(frames.arp(operation)) == expected
    assert _text(frames.arp(operation), ethertype=0x8035) == expected


def test_unknown_target_is_left_out() -> None:
    assert _text(frames.arp(1, target=bytes(6))) == "request who-has 10.0.0.2 tell 10.0.0.1"


def test_short() -> None:
    assert _text(frames.arp(1)[:-1]) == "... (truncated or incomplete packet)"
