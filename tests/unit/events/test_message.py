"""Messages put together from columns: pyarrow finds in them what was written."""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from event_samples import batch_of, packet_row, rows
from hypothesis import given, settings
from hypothesis import strategies as st

from fyke.events.coded import Numbers, by_name, coded_schema
from fyke.events.conform import Conform
from fyke.events.filled import Arrays
from fyke.events.frames import Frames, Header
from fyke.events.message import Encoder, narrowed_message
from fyke.events.schema import arrow_schema

# pyarrow's messages are what it makes them; null columns are put between others in those of the two codecs.
CODECS = (None, "lz4", "zstd")
SECTIONS = ("task", "kernel", "packet", "netns", "dev")


def written(schema: pa.Schema, codec: str | None, batches: list[pa.RecordBatch]) -> list[pa.RecordBatch]:
    """Write batches by one encoder, and return what pyarrow reads, checked in full."""
    encoder = Encoder(schema, None if codec is None else pa.Codec(codec))
    stream = encoder.header() + b"".join(map(encoder.frame, batches))
    with pa.ipc.open_stream(stream) as reader:
        found = list(reader)
    for batch in found:
        batch.validate(full=True)
        assert batch.schema == coded_schema(schema)
    return [pa.RecordBatch.from_pylist(batch.to_pylist(), schema=schema) for batch in found]


@pytest.mark.parametrize("codec", CODECS)
@given(
    st.lists(st.tuples(st.integers(1, 60), st.sets(st.sampled_from(SECTIONS)), st.booleans()), max_size=4),
)
@settings(max_examples=15, deadline=None)
def test_any_sections(codec: str | None, wanted: list[tuple[int, set[str], bool]]) -> None:
    batches = []
    for count, absent, some in wanted:
        made: list[dict[str, Any]] = [packet_row(n) for n in range(count)]
        for row in made[: count // 2 if some else count]:
            row.update(dict.fromkeys(absent))
        batches.append(batch_of(made))
    assert written(arrow_schema(), codec, batches) == batches


@pytest.mark.parametrize("count", [4095, 4096, 4097])
def test_around_the_length_of_kept_columns(count: int) -> None:
    times = pa.array(range(count), pa.uint64())
    schema = arrow_schema()
    rest = [pa.nulls(count, field.type) for field in list(schema)[1:]]
    batch = pa.RecordBatch.from_arrays([times, *rest], schema=schema)
    # A batch of what is longer, and one of what is not, after it: what is kept for one must do for the other.
    assert written(schema, "zstd", [batch, batch.slice(7), batch]) == [batch, batch.slice(7), batch]


def test_lists_longer_than_the_batch() -> None:
    row = packet_row(1)
    row["kernel"]["stack"] = [f"frame+{n:#x}" for n in range(300)]
    batch = batch_of([row, packet_row(2)])
    assert written(arrow_schema(), "zstd", [batch]) == [batch]


@pytest.mark.parametrize(
    "kind", [pa.null(), pa.list_(pa.int8(), 3), pa.map_("string", "int8"), pa.large_string()]
)
def test_columns_of_other_types(kind: pa.DataType) -> None:
    schema = arrow_schema().append(pa.field("theirs", kind)).append(pa.field("none", kind))
    whole = batch_of([packet_row(1), packet_row(2)])
    nulls = pa.nulls(2, kind)
    batch = pa.RecordBatch.from_arrays([*whole.columns, nulls, nulls], schema=schema)
    assert written(schema, "zstd", [batch]) == [batch]


def test_what_is_null_is_not_written_through_pyarrow(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = Encoder(arrow_schema(), pa.Codec("zstd"))
    names: list[dict[str, list[str]]] = []
    real = Encoder._encoded

    def encoded(self: Encoder, batch: pa.RecordBatch) -> bytes:
        names.append({f.name: [f.type.field(i).name for i in range(f.type.num_fields)] for f in batch.schema})
        return real(self, batch)

    monkeypatch.setattr(Encoder, "_encoded", encoded)
    row = packet_row(1)
    encoder.frame(batch_of([row]))
    sections = {name: values if isinstance(values, dict) else {} for name, values in row.items()}
    expected = {name: {c for c, value in s.items() if value is not None} for name, s in sections.items()}
    *strings, batch = [{name: set(columns) for name, columns in found.items()} for found in names]
    assert batch == expected
    assert strings == [{"values": set()}] * 4  # comm, symbol, probe_type, dev.name


@pytest.mark.parametrize("codec", ["lz4", "zstd"])
@given(
    st.lists(rows(journeys=True), min_size=1, max_size=5),
    st.sets(st.sampled_from(arrow_schema().names)),
    st.booleans(),
)
@settings(max_examples=15, deadline=None)
def test_some_columns_are_read(
    codec: str, table: list[dict[str, Any]], wanted: set[str], without_nulls: bool
) -> None:
    schema = arrow_schema()
    coded = coded_schema(schema)
    numbers = Numbers(coded, by_name(coded, range(100)))
    batch = batch_of(table)
    numbered, told = numbers.of(batch)
    with tempfile.TemporaryFile() as file:
        file.write(Encoder(schema, pa.Codec(codec)).frame(batch))
        file.seek(0)
        *_, frame = Frames(file)
    message = frame.data
    header = Header.of(message)
    assert header is not None
    assert header.codec is not None
    assert header.rows == len(batch)
    wanted |= {"timestamp_ns"}
    arrays = Arrays(numbered.schema)
    chosen = np.array([name in wanted for name in schema.names])
    nulls = arrays.nulls_of(numbered) if without_nulls else np.zeros(arrays.count, np.bool_)
    plan = arrays.plan(nulls, chosen)
    data = narrowed_message(header.rows, header.codec, message, plan)
    found = pa.ipc.read_record_batch(pa.py_buffer(data), plan.schema)
    found.validate(full=True)
    assert set(found.schema.names) <= wanted
    names = [name for name in schema.names if name in wanted]
    meanings = by_name(coded, [told.get(number, pa.array([], pa.string())) for number in range(100)])
    assert Conform(found.schema, schema)(found, meanings).select(names) == batch.select(names)
