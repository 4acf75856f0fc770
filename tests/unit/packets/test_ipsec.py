import frames
import pytest

from fyke.packets import text

_TRUNCATED = "... (truncated or incomplete packet)"
_AH = " proto AH (51) spi 0x00000011 seq 0x22"
_ICV = "0xaaaaaaaaaaaaaaaaaaaaaaaa"


def _over_both(protocol: int, payload: bytes) -> set[str]:
    """The text from the protocol on, over IPv4 and over IPv6."""
    packets = (
        frames.ethernet(0x800, frames.ipv4(protocol, payload)),
        frames.ethernet(0x86DD, frames.ipv6(protocol, payload)),
    )
    return {line[line.index(" proto ") :] for line in (text(packet, len(packet)) for packet in packets)}


def test_authenticated() -> None:
    assert _over_both(51, frames.ah(6, frames.tcp(b"abc"))) == {
        f"{_AH} icv {_ICV} proto TCP (6) flags [.] seq 100:103 ack 5 win 1000"
    }


def test_authenticated_unknown() -> None:
    assert _over_both(51, frames.ah(99, b"")) == {
        f"{_AH} icv {_ICV} proto (99)... (protocol 0x63 not supported)"
    }


def test_twice_authenticated() -> None:
    assert _over_both(51, frames.ah(51, frames.ah(1, b"\x08\0\0\0"))) == {
        f"{_AH} icv {_ICV}{_AH} icv {_ICV} proto ICMP (1) type 8 code 0"
    }


def test_encrypted() -> None:
    assert _over_both(50, frames.esp(b"secret")) == {" proto ESP (50) spi 0x0000dead seq 0x12c"}


def test_behind_an_extension_header() -> None:
    frame = frames.ethernet(0x86DD, frames.ipv6(0, frames.extension(50) + frames.esp()))
    assert text(frame, len(frame)) == (
        "::1 > ::2 ttl 64 label 0x0 len 16 exts [Hopopt] proto ESP (50) spi 0x0000dead seq 0x12c"
    )


@pytest.mark.parametrize(
    ("protocol", "payload", "expected"),
    [
        (50, frames.esp()[:7], f" proto ESP (50){_TRUNCATED}"),
        (51, frames.ah(6, b"")[:11], f" proto AH (51){_TRUNCATED}"),
        (51, frames.ah(6, b"")[:14], f"{_AH} icv 0xaaaa proto TCP (6){_TRUNCATED}"),
    ],
)
def test_short(protocol: int, payload: bytes, expected: str) -> None:
    assert _over_both(protocol, payload) == {expected}
