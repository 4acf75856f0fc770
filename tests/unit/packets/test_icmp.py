import frames
import pytest

from fyke.packets import text


@pytest.mark.parametrize(("protocol", "name"), [(1, "ICMP (1)"), (58, "ICMPv6 (58)")])
def test_type_and_code(protocol: int, name: str) -> None:
    frame = frames.ethernet(0x800, frames.ipv4(protocol, b"\3\1\0\0"))
    assert text(frame, len(frame)).endswith(f" len 24 proto {name} type 3 code 1")
    assert text(frame[:-1], len(frame)).endswith(f" len 24 proto {name}... (truncated or incomplete packet)")
