"""Events to a pcapng capture, with an interface for each probe and network namespace."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fyke import __version__
from fyke.collectors.formatting import Style
from fyke.events.facts import Facts
from fyke.events.json_schema import event_schema
from fyke.events.pcapng import format as ng
from fyke.export import pcap_packets, pcapng
from fyke.export.pcap_probes import Interface, Interfaces, WantedProbe
from fyke.render.text import EventText

# Retis' number, not one that IANA gave it. Behind it stand an event's JSON, and, in a block of its own, the
# JSON Schema of all events: what Retis' dissector for Wireshark looks for.
RETIS_NUMBER = 70_000
_NOT_EVENTS = ("tracking_full", "stack_full")  # gaps that are of ids and stacks


class Sink(Protocol):
    """Takes the bytes of a capture; see `fyke.events.output.Output`."""

    def append(self, block: bytes, events: int) -> None:
        """Write whole blocks, of this many packets."""


class PcapWriter:
    """Writes the events that hold a packet, in their order, as packets of a capture.

    The time is the event's, on the wall clock. Comments: the event's text in many lines; of a sorted file its
    journey; where the VLAN tag was. The JSON of the event, without packet, is an option as Retis has it.

    open_sink: called once, when there is something to write (`begin` says so of an empty capture).
    wanted: probes, all when there is none. with_schema: begin with the JSON Schema of such events, in a block
    that Retis writes always; but tshark and Wireshark count it as a packet, one without a time.
    at_probes: events at the wanted probes; no_packet: those of them that are left out, since they hold no
    packet. lost: events that the recording says it lost.
    """

    def __init__(
        self,
        open_sink: Callable[[], Sink],
        facts: Facts,
        wanted: Sequence[WantedProbe] = (),
        *,
        with_schema: bool = False,
    ) -> None:
        self.facts = facts
        self.at_probes = self.no_packet = self.lost = 0
        self._with_schema = with_schema
        self._open_sink = open_sink
        self._sink: Sink | None = None
        self._begun: list[bytes] = []  # interfaces since the last block
        self._interfaces = Interfaces(wanted, self._interface)
        self._text = EventText(Style())
        self._offset = np.uint64(facts.clock_monotonic_offset_ns % (1 << 64))

    @property
    def found(self) -> set[WantedProbe]:
        """Those of the wanted probes that some event was at."""
        return self._interfaces.found

    def begin(self) -> Sink:
        """Open the output if it isn't yet, and return it."""
        if self._sink is None:
            self._sink = self._open_sink()
            self._sink.append(self._head(), 0)
        return self._sink

    def write(self, batch: pa.RecordBatch) -> None:
        """Write the packets of one batch of the event table. Raises what the sink does."""
        self.lost += _lost(batch.column("gap"))
        events = pc.and_(pc.is_null(batch.column("gap")), pc.is_null(batch.column("closing")))
        chosen = self._interfaces.chosen(batch) & events.to_numpy(zero_copy_only=False)
        if not chosen.all():
            batch = batch.filter(pa.array(chosen))
        held = pc.greater(pc.binary_length(pc.struct_field(batch.column("packet"), "data")), 0)
        kept = batch.filter(held)  # null counts as False
        self.at_probes += len(batch)
        self.no_packet += len(batch) - len(kept)
        for rows in pcap_packets.slices(kept):
            self._write(rows)

    def _write(self, rows: pa.RecordBatch) -> None:
        numbers = self._interfaces.numbers(rows)
        data, wire = pcap_packets.frames(rows)
        times = rows.column("timestamp_ns").to_numpy() + self._offset
        comments = (self._text.texts(rows), pcap_packets.journey_notes(rows), pcap_packets.tag_notes(rows))
        options = [pcapng.Texts(ng.COMMENT, values) for values in comments if values is not None]
        lead = RETIS_NUMBER.to_bytes(4, "little")
        options.append(pcapng.Texts(ng.CUSTOM_TEXT, _fitting(pcap_packets.event_json(rows)), lead))
        blocks = pcapng.packets(numbers, times, data, wire, options)
        sink = self.begin()
        begun, self._begun = self._begun, []
        if begun:
            sink.append(b"".join(begun), 0)
        sink.append(blocks, len(rows))  # type: ignore[arg-type]  # as good as bytes

    def _interface(self, interface: Interface) -> None:
        name, description = map(pcapng.clipped, (interface.name, interface.description))
        self._begun.append(pcapng.interface(name, description, pcap_packets.SNAPLEN))

    def _head(self) -> bytes:
        facts = self.facts
        texts = (
            (ng.COMMENT, facts.cmdline),
            *((ng.COMMENT, note) for note in facts.notes),
            (ng.SHB_HARDWARE, facts.hardware_name),
            (ng.SHB_OS, f"Linux {facts.kernel_release} {facts.kernel_version}".rstrip()),
            (ng.SHB_USERAPPL, f"fyke {__version__}"),
        )
        header = pcapng.section_header((code, _stored(text)) for code, text in texts if text)
        if not self._with_schema:
            return header
        schema = json.dumps(event_schema()).encode()
        # To the next multiple of four with what JSON passes over.
        return header + pcapng.custom(RETIS_NUMBER, schema + b" " * (-len(schema) % 4))


def _fitting(texts: pa.Array) -> pa.Array:
    """Return the texts without those that an option can't hold: half of one is no JSON."""
    fits = pc.less_equal(pc.binary_length(texts), ng.MAX_OPTION - 4)
    return texts if pc.all(fits).as_py() else pc.if_else(fits, texts, pa.scalar(None, pa.string()))


def _stored(text: str) -> bytes:
    """Return a text of the facts as an option's value; JSON may have brought lone surrogates."""
    return pcapng.clipped(text.encode("utf-8", "backslashreplace").decode()).encode()


def _lost(gaps: pa.Array) -> int:
    if gaps.null_count == len(gaps):
        return 0
    counted = gaps.filter(gaps.is_valid()).to_pylist()
    return sum(gap["count"] or 0 for gap in counted if gap["cause"] not in _NOT_EVENTS)
