import frames
import pytest

from fyke.packets import text

_TRUNCATED = "... (truncated or incomplete packet)"
_A, _B = b"\n\0\0\1", b"\n\0\0\2"


def _text(message: bytes, *, cut: int = 0) -> str:
    """The text behind the protocol; `cut` bytes were not captured."""
    frame = frames.ethernet(0x800, frames.ipv4(2, message))
    return text(frame[: len(frame) - cut], len(frame)).partition(" proto IGMP (2)")[2]


@pytest.mark.parametrize(
    ("kind", "code", "expected"),
    [
        (0x11, 0, "type 0x11 v1 query group 239.1.2.3"),
        (0x11, 25, "type 0x11 v2 query group 239.1.2.3 max_resp 2.5s"),
        (0x12, 0, "type 0x12 v1 report group 239.1.2.3"),
        (0x16, 0, "type 0x16 v2 report group 239.1.2.3"),
        (0x17, 0, "type 0x17 leave group 239.1.2.3"),
        (0x13, 5, "type 0x13"),
    ],
)
def test_messages(kind: int, code: int, expected: str) -> None:
    message = frames.igmp(kind, code=code)
    assert _text(message) == f" {expected}"
    short = _text(message, cut=1)
    assert short == (f" {expected}" if kind == 0x13 else _TRUNCATED)
    assert _text(message, cut=5) == _TRUNCATED


def test_query_of_sources() -> None:
    message = frames.igmp_query(_A, _B, bits=0x0A)
    head = " type 0x11 v3 query group 239.1.2.3 max_resp 10s"
    assert _text(message) == f"{head} [S] qrv 2 qqi 125s {{10.0.0.1,10.0.0.2}}"
    assert _text(message, cut=1) == f"{head} [S] qrv 2 qqi 125s {{10.0.0.1}}{_TRUNCATED}"
    assert _text(message, cut=9) == f"{head}{_TRUNCATED}"


@pytest.mark.parametrize(
    ("code", "tenths"), [(127, 127), (128, 128), (0x8F, 248), (0xF0, 16384), (0xFF, 31744)]
)
def test_long_times_are_floating(code: int, tenths: int) -> None:
    line = _text(frames.igmp_query(code=code, bits=0, interval=code))
    assert line.endswith(f" max_resp {tenths / 10:g}s [] qrv 0 qqi {tenths}s")


def test_report() -> None:
    records = [frames.igmp_record(kind) for kind in (1, 2, 3, 4, 5, 6, 0, 7)]
    names = ["IS_IN", "IS_EX", "TO_IN", "TO_EX", "ALLOW", "BLOCK", "UNKNOWN:0", "UNKNOWN:7"]
    expected = "".join(f" [{name} 239.1.2.3]" for name in names)
    assert _text(frames.igmp_report(*records)) == f" type 0x22 v3 report{expected}"


def test_report_with_sources_and_auxiliary_data() -> None:
    records = frames.igmp_record(5, _A, _B, auxiliary=bytes(8)), frames.igmp_record(6, _B)
    message = frames.igmp_report(*records)
    first, second = " [ALLOW 239.1.2.3 {10.0.0.1,10.0.0.2}]", " [BLOCK 239.1.2.3"
    assert _text(message) == f" type 0x22 v3 report{first}{second} {{10.0.0.2}}]"
    assert _text(message, cut=1) == f" type 0x22 v3 report{first}{second}]{_TRUNCATED}"
    assert _text(message, cut=5) == f" type 0x22 v3 report{first}{_TRUNCATED}"
    assert _text(message, cut=13) == f" type 0x22 v3 report{first}{_TRUNCATED}"
    assert _text(message, cut=21) == f" type 0x22 v3 report [ALLOW 239.1.2.3 {{10.0.0.1}}]{_TRUNCATED}"


def test_more_records_claimed_than_there_are() -> None:
    message = frames.igmp(0x22, group=b"\0\0\xff\xff", more=frames.igmp_record(1))
    assert _text(message) == f" type 0x22 v3 report [IS_IN 239.1.2.3]{_TRUNCATED}"
