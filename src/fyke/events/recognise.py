"""What kind of file something is, by its first bytes; never by its name."""

from __future__ import annotations

from fyke.errors import InputError

ARROW, RETIS_JSON, PARQUET, CAPTURE = "arrow", "retis-json", "parquet", "capture"
# pcapng, and pcap in both byte orders with micro- and nanoseconds.
_CAPTURES = (
    b"\x0a\x0d\x0d\x0a",
    b"\xd4\xc3\xb2\xa1",
    b"\xa1\xb2\xc3\xd4",
    b"\x4d\x3c\xb2\xa1",
    b"\xa1\xb2\x3c\x4d",
)

# First bytes of what people take for event files: (magic, what it is, hint).
_OTHERS = (
    (
        b"ARROW1",
        "an Arrow file, not an Arrow stream",
        "write it with the stream format (pyarrow.ipc.new_stream)",
    ),
    (b"\x1f\x8b", "compressed (gzip)", "unpack it first: gunzip"),
    (b"\x28\xb5\x2f\xfd", "compressed (zstd)", "unpack it first: unzstd"),
    (b"\xfd7zXZ\0", "compressed (xz)", "unpack it first: unxz"),
    (b"\x7fELF", "a program", ""),
)
_WHAT_WE_READ = (
    "fyke reads its own event files (Arrow streams, Parquet), those of Retis (JSON lines), and pcapng"
)


def recognise(path: str, head: bytes) -> str:
    """Return what a file is by its first bytes: ARROW, RETIS_JSON ... Raises InputError for anything else."""
    if not head:
        raise InputError(
            f"{path} is empty", "a collection that ended before its first event leaves such a file"
        )
    if head.startswith(b"\xff\xff\xff\xff"):
        return ARROW
    if head.startswith(_CAPTURES):
        return CAPTURE
    if head.startswith(b"PAR1"):
        return PARQUET
    if head.lstrip()[:1] in (b"{", b"["):
        return RETIS_JSON
    for magic, what, hint in _OTHERS:
        if head.startswith(magic):
            raise InputError(f"{path} is {what}, not an event file", hint or _WHAT_WE_READ)
    raise InputError(f"{path} is not an event file", _WHAT_WE_READ)
