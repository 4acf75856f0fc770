"""What a capture says of each event: its packet's bytes, its text, its JSON, its place in a journey."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fyke.events.retis.patterns import texts
from fyke.filters.events import TAG_AT, TAG_BYTES, accelerated_tags

SNAPLEN = 0xFFFF  # bytes of a packet that go into a capture, as Retis has it
_SLICE_ROWS = 8_192
_SLICE_BYTES = 16 << 20
_NONE = pa.scalar(None, pa.string())


def slices(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Cut a batch to what is worked on at once: few rows, and few bytes unless a row has many."""
    if not len(batch):
        return
    fit = len(batch) * _SLICE_BYTES // max(batch.nbytes, 1)
    step = min(max(fit, 1), _SLICE_ROWS)
    for start in range(0, len(batch), step):
        yield batch.slice(start, step)


def frames(batch: pa.RecordBatch) -> tuple[pa.Array, npt.NDArray[np.int64]]:
    """Return the packets' bytes as they were on the wire (binary), and their whole lengths.

    A VLAN tag that the kernel kept beside the bytes is put back into them, as libpcap does when it captures.
    """
    packet = batch.column("packet")
    data = pc.fill_null(pc.struct_field(packet, "data"), b"")
    kept = pc.binary_length(data).to_numpy().astype(np.int64)
    length = pc.struct_field(packet, "len")
    wire = pc.fill_null(length, 0).to_numpy().astype(np.int64)
    tags = accelerated_tags(batch.column("vlan_accel"))
    tagged = (tags >= 0) & (kept >= TAG_AT)
    if tagged.any():
        data = _with_tags(data, tags, tagged)
        kept = kept + TAG_BYTES * tagged
        wire = np.where(tagged & (wire > 0), wire + TAG_BYTES, wire)
    if kept.max(initial=0) > SNAPLEN:
        long = pa.array(kept > SNAPLEN)
        cut = [value[:SNAPLEN] for value in data.filter(long).to_pylist()]
        data = pc.replace_with_mask(data, long, pa.array(cut, pa.binary()))
    return data, np.maximum(wire, kept)


def tag_notes(batch: pa.RecordBatch) -> pa.Array | None:
    """Return a note for each packet whose VLAN tag was not in its bytes; None when there is none."""
    section = batch.column("vlan_accel")
    if section.null_count == len(section):
        return None
    vid = pc.cast(pc.fill_null(pc.struct_field(section, "vid"), 0), pa.string())
    note = pc.binary_join_element_wise(
        "vlan ", vid, ": the kernel kept this tag beside the packet's bytes", ""
    )
    held = pc.greater_equal(pc.binary_length(pc.struct_field(batch.column("packet"), "data")), TAG_AT)
    return pc.if_else(pc.and_(section.is_valid(), pc.fill_null(held, False)), note, _NONE)


def journey_notes(batch: pa.RecordBatch) -> pa.Array | None:
    """Return for each event of a sorted file which journey it is of, and which event of it; None for others.

    As events are numbered in the text of `fyke sort`: from 0.
    """
    journey = batch.column("journey")
    if journey.null_count == len(journey):
        return None
    number, index = (pc.cast(pc.struct_field(journey, name), pa.string()) for name in ("id", "index"))
    note = pc.binary_join_element_wise("journey ", number, " event ", index, "")
    clone = pc.fill_null(pc.struct_field(journey, "clone"), 0)
    if pc.max(clone).as_py():
        cloned = pc.binary_join_element_wise(note, " clone ", pc.cast(clone, pa.string()), "")
        note = pc.if_else(pc.greater(clone, 0), cloned, note)
    return note


def event_json(batch: pa.RecordBatch) -> pa.Array:
    """Return each event in the form of Retis' files, without its packet (utf8)."""
    place = batch.schema.get_field_index("packet")
    field = batch.schema.field(place)
    return texts(batch.set_column(place, field, pa.nulls(len(batch), field.type)))


def _with_tags(data: pa.Array, tags: npt.NDArray[np.int64], tagged: npt.NDArray[np.bool_]) -> pa.Array:
    """Return packets (binary without nulls) with the tags (32 bits each) of some put into their place."""
    _validity, offsets, values = data.buffers()
    ends = np.frombuffer(offsets, np.int32)[data.offset : data.offset + len(data) + 1]
    flat = np.frombuffer(values, np.uint8)[ends[0] : ends[-1]]
    ends = ends - ends[0]
    places = np.repeat(ends[:-1][tagged] + TAG_AT, TAG_BYTES)
    longer = np.insert(flat, places, tags[tagged].astype(">u4").view(np.uint8))
    ends[1:] += TAG_BYTES * np.cumsum(tagged, dtype=np.int32)
    return pa.Array.from_buffers(pa.binary(), len(data), [None, pa.py_buffer(ends), pa.py_buffer(longer)])
