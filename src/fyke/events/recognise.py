"""What kind of file something is, by its first bytes; never by its name."""

from __future__ import annotations

from fyke.errors import InputError

ARROW, RETIS_JSON = "arrow", "retis-json"

# First bytes of what people take for event files: (magic, what it is, hint).
_OTHERS = (
    (
        b"ARROW1",
        "an Arrow file, not an Arrow stream",
        "write it with the stream format (pyarrow.ipc.new_stream)",
    ),
    (
        b"PAR1",
        "a Parquet file",
        "open it with DuckDB, pandas or polars; fyke reads the file it was made from",
    ),
    (b"\xd4\xc3\xb2\xa1", "a packet capture (pcap)", "read it with tcpdump -r or Wireshark"),
    (b"\xa1\xb2\xc3\xd4", "a packet capture (pcap)", "read it with tcpdump -r or Wireshark"),
    (b"\x4d\x3c\xb2\xa1", "a packet capture (pcap)", "read it with tcpdump -r or Wireshark"),
    (b"\xa1\xb2\x3c\x4d", "a packet capture (pcap)", "read it with tcpdump -r or Wireshark"),
    (b"\x0a\x0d\x0d\x0a", "a packet capture (pcapng)", "read it with tcpdump -r or Wireshark"),
    (b"\x1f\x8b", "compressed (gzip)", "unpack it first: gunzip"),
    (b"\x28\xb5\x2f\xfd", "compressed (zstd)", "unpack it first: unzstd"),
    (b"\xfd7zXZ\0", "compressed (xz)", "unpack it first: unxz"),
    (b"\x7fELF", "a program", ""),
)
_WHAT_WE_READ = "fyke reads its own event files (Arrow streams) and those of Retis (JSON lines)"


def recognise(path: str, head: bytes) -> str:
    """Return `arrow` or `retis-json` for the first bytes of a file. Raises InputError for anything else."""
    if not head:
        raise InputError(
            f"{path} is empty", "a collection that ended before its first event leaves such a file"
        )
    if head.startswith(b"\xff\xff\xff\xff"):
        return ARROW
    if head.lstrip()[:1] in (b"{", b"["):
        return RETIS_JSON
    for magic, what, hint in _OTHERS:
        if head.startswith(magic):
            raise InputError(f"{path} is {what}, not an event file", hint or _WHAT_WE_READ)
    raise InputError(f"{path} is not an event file", _WHAT_WE_READ)
