import frames
import pytest

from fyke.packets import text

_BODY = bytes.fromhex("c58b332e 0001a000 000a ffff f8d1dfe4")
_TRUNCATED = "... (truncated or incomplete packet)"


def _text(packet: bytes, *, cut: int = 0) -> str:
    frame = frames.ethernet(0x800, frames.ipv4(132, packet))
    line = text(frame[: len(frame) - cut], len(frame))
    return line.partition(" proto SCTP (132) vtag 0x1234")[2]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (0, "DATA TSN 3314234158 SID 1 SSEQ 40960 PPID 0xaffff"),
        (1, "INIT init_tag 0xc58b332e rwnd 106496 OS 10 MIS 65535 init_TSN 4174503908"),
        (2, "INIT_ACK init_tag 0xc58b332e rwnd 106496 OS 10 MIS 65535 init_TSN 4174503908"),
        (3, "SACK cum_ack 3314234158 a_rwnd 106496 #gap_acks 10 #dup_tsns 65535"),
        (4, "HEARTBEAT"),
        (6, "ABORT"),
        (14, "SHUTDOWN_COMPLETE"),
        (15, "UNKNOWN:15"),
        (255, "UNKNOWN:255"),
    ],
)
def test_chunks(kind: int, expected: str) -> None:
    assert _text(frames.sctp(frames.chunk(kind, _BODY))) == f" [{expected}]"


@pytest.mark.parametrize(("flags", "mark"), [(1, "E"), (2, "B"), (4, "U"), (7, "UBE"), (0xF8, "")])
def test_data_flags(flags: int, mark: str) -> None:
    expected = f" [DATA{f' ({mark})' if mark else ''} TSN "
    assert _text(frames.sctp(frames.chunk(0, _BODY, flags=flags))).startswith(expected)


def test_padded_chunks_in_a_row() -> None:
    assert _text(frames.sctp(frames.chunk(4, b"abc"), frames.chunk(11))) == " [HEARTBEAT] [COOKIE_ACK]"


def test_ports_and_no_chunks() -> None:
    frame = frames.ethernet(0x800, frames.ipv4(132, frames.sctp()))
    assert text(frame, len(frame)) == (
        "10.0.0.1.10 > 10.0.0.2.20 tos 0x0 ttl 64 id 7 off 0 len 32 proto SCTP (132) vtag 0x1234"
    )


def test_cut() -> None:
    packet = frames.sctp(frames.chunk(11), frames.chunk(0, _BODY[:12]))
    assert _text(packet, cut=1) == f" [COOKIE_ACK]{_TRUNCATED}"
    assert _text(packet, cut=16) == f" [COOKIE_ACK]{_TRUNCATED}"


def test_chunk_length_of_nothing_ends() -> None:
    assert _text(frames.sctp(frames.chunk(4, length=0))) == f" [HEARTBEAT]{_TRUNCATED}"
