import frames
import pytest

from fyke.packets import text

_TRUNCATED = "... (truncated or incomplete packet)"


def _text(segment: bytes, **fields: int) -> str:
    """The text from the flags on."""
    frame = frames.ethernet(0x800, frames.ipv4(6, segment, **fields))  # type: ignore[arg-type]
    return text(frame, len(frame)).partition(" proto TCP (6)")[2]


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (0, "[] seq 100"),
        (0x02, "[S] seq 100"),
        (0x12, "[S.] seq 100 ack 5"),
        (0x18, "[P.] seq 100 ack 5"),
        (0x100, "[e] seq 100"),
        (0x1FF, "[FSRP.UEWe] seq 100 ack 5"),
    ],
)
def test_flags(flags: int, expected: str) -> None:
    assert _text(frames.tcp(flags=flags)) == f" flags {expected} win 1000"


def test_sequence_range_is_the_claimed_payload() -> None:
    assert _text(frames.tcp(b"abc")) == " flags [.] seq 100:103 ack 5 win 1000"
    assert _text(frames.tcp(b"abc"), length=1040) == " flags [.] seq 100:1100 ack 5 win 1000"


def test_sequence_numbers_wrap() -> None:
    assert _text(frames.tcp(b"abcd", seq=0xFFFFFFFE)) == " flags [.] seq 4294967294:2 ack 5 win 1000"


def test_options_of_a_syn() -> None:
    options = bytes.fromhex("020405a0 0402080a53fd1e8200000000 01 030307")
    assert _text(frames.tcp(flags=2, options=options)) == (
        " flags [S] seq 100 win 1000 [mss 1440,sackOK,TS val 1409097346 ecr 0,nop,wscale 7]"
    )


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("01010000", "nop,nop,eol,eol"),
        ("02040500", "mss 1280"),
        ("02030500", "mss,eol"),
        ("03030e01", "wscale 14,nop"),
        ("0302 0101", "wscale,nop,nop"),
        ("0101 050a 00000001 00000002", "nop,nop,sack 1 {1:2}"),
        ("0101 0512 00000001 00000002 00000003 00000004", "nop,nop,sack 2 {1:2}{3:4}"),
        ("0502 0101", "sack 0 ,nop,nop"),
        ("0506 00000001 0101", "sack invalid,nop,nop"),
        ("0101 0606 00000007", "nop,nop,echo 7"),
        ("0101 0706 00000007", "nop,nop,echoreply 7"),
        ("0101 0b06 00000007", "nop,nop,cc 7"),
        ("0101 0c06 00000007", "nop,nop,ccnew 7"),
        ("0101 0d06 00000007", "nop,nop,ccecho 7"),
        ("0809 0000000000000000 0101", "TS,eol,nop,nop"),
        ("1304 0000", "md5"),
        ("1404 0000", "scps"),
        ("1c04 8001", "uto"),
        ("1d04 0000", "tcp-ao"),
        ("1e04 0000", "mptcp"),
        ("2202 0101", "tfo cookiereq,nop,nop"),
        ("220a 0102030405060708 0101", "tfo cookie 0x0102030405060708,nop,nop"),
        ("2206 0a0b", "tfo cookie 0x0a0b????"),
        ("fe04 f989", "exp"),
        ("fd04 0000", "?"),
        ("45000101", "?,nop,nop"),
        ("45ff0101", "?"),
    ],
)
def test_options(options: str, expected: str) -> None:
    assert _text(frames.tcp(options=bytes.fromhex(options))).endswith(f" win 1000 [{expected}]")


def test_options_that_were_not_captured() -> None:
    assert _text(frames.tcp(words=15)).endswith(" win 1000 []")


@pytest.mark.parametrize("size", [0, 19])
def test_short_header(size: int) -> None:
    assert _text(frames.tcp()[:size]) == _TRUNCATED
