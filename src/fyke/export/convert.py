"""The formats that a recording can be converted to: their names, and a writer for each."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from fyke.events.facts import Facts
from fyke.events.output import Output

if TYPE_CHECKING:
    import pyarrow as pa

    from fyke.export.pcap_write import PcapWriter

PERFETTO = "perfetto"
# What a name may end with -> the format; the first that fits. What ends with none of them is Arrow.
_SUFFIXES = (
    (".perfetto.json", PERFETTO),
    (".perfetto", PERFETTO),
    (".json", "json"),
    (".jsonl", "json"),
    (".data", "json"),
    (".parquet", "parquet"),
    (".csv", "csv"),
    (".pcapng", "pcapng"),
    (".pcap", "pcapng"),
)
FORMATS = ("arrow", "json", "parquet", "csv", "pcapng", PERFETTO)


class EventFile(Protocol):
    """Takes the batches of a recording in their order; the end of the context is the end of the file."""

    def write(self, batch: pa.RecordBatch) -> None:
        """Write one batch."""

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the file."""


def format_of(path: str, asked: str | None = None) -> str:
    """Return one of FORMATS: what was asked for, else what the name says."""
    if asked is not None:
        return asked
    return next((kind for suffix, kind in _SUFFIXES if path.lower().endswith(suffix)), "arrow")


def event_file(path: str, kind: str, facts: Facts, schema: pa.Schema) -> EventFile:
    """Begin a file of a format. Raises UsageError for a path, or columns, that can't be written."""
    if kind == "json":
        from fyke.events.retis.write import RetisWriter

        return RetisWriter(path, facts)
    if kind == "parquet":
        from fyke.export.convert_parquet import ParquetWriter

        return ParquetWriter(path, facts, schema)
    if kind == "csv":
        from fyke.export.csv import CsvWriter

        return CsvWriter(path, schema)
    if kind == "pcapng":
        return CaptureFile(path, facts)
    if kind == PERFETTO:
        from fyke.export.perfetto import PerfettoWriter

        return PerfettoWriter(path, facts)
    from fyke.export.convert_arrow import GatheringWriter

    return GatheringWriter(path, facts, schema)


class CaptureFile:
    """A capture in a file. capture: what writes it, and knows what was left out."""

    def __init__(self, path: str, facts: Facts) -> None:
        from fyke.export.pcap_write import PcapWriter

        self._output = Output(path, lambda _number: b"")
        self.capture: PcapWriter = PcapWriter(lambda: self._output, facts)
        self.capture.begin()

    def write(self, batch: pa.RecordBatch) -> None:
        """Write the packets of one batch."""
        self.capture.write(batch)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._output.close()
