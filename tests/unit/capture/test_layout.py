"""The record's layout comes from C, the columns from the collectors: both must mean the same."""

from __future__ import annotations

import platform

import numpy as np
import pyarrow as pa
import pytest
from btf_writer import BtfWriter
from made_records import OBJECT, headers_btf, object_btf

from fyke.capture.layout import RecordLayout, read_layout, section_bits, struct_dtype
from fyke.collectors import COLLECTORS
from fyke.events import schema
from fyke.events.column import Column
from fyke.kernel.btf import Btf

SECTIONS = {s.name: s for c in COLLECTORS for s in c.sections if s.in_kernel}


@pytest.fixture(params=["headers", "object"])
def btf(request: pytest.FixtureRequest) -> Btf:
    """The structs as the headers' text has them, and as the compiler has put them into the object."""
    found = headers_btf() if request.param == "headers" else object_btf()
    if found is None:
        pytest.skip(f"no BPF object for {platform.machine()} is built ({OBJECT.name})")
    return found


def layout_of(btf: Btf, sections: tuple[str, ...] = tuple(SECTIONS), snaplen: int = 256) -> RecordLayout:
    return read_layout(btf, sections, snaplen)


def test_every_section_has_its_number_and_no_number_is_without_a_section(btf: Btf) -> None:
    bits = section_bits(btf)
    assert set(bits) == {*SECTIONS, "retval", "userspace", "arguments"}
    assert sorted(bits.values()) == list(range(len(bits)))
    assert len(bits) <= 32  # record.present, probe.sections
    assert max(bits, key=bits.__getitem__) == "packet"  # the only one of a size that is chosen comes last


def test_every_column_of_every_section_is_in_its_struct(btf: Btf) -> None:
    dtype = layout_of(btf).dtype
    for section in SECTIONS.values():
        members = dtype[section.name]
        assert members.names is not None
        for column in section.columns:
            if not column.source:  # made later
                continue
            assert column.source in members.names, f"{section.name}.{column.name}"
            fits(members[column.source], column)


def test_every_member_is_a_columns_source_or_padding(btf: Btf) -> None:
    dtype = layout_of(btf).dtype
    for section in SECTIONS.values():
        sources = {column.source for column in section.columns}
        names = set(dtype[section.name].names or ())
        # A struct is there as a whole, and as its members: either will do.
        whole = {name for name in names if any(other.startswith(f"{name}.") for other in names)}
        unused = names - whole - sources
        unused -= {name for name in unused if name.rpartition(".")[0] in sources}
        # The parent of a connection is one, too; but the packet's state is the connection's only.
        assert unused <= {"pad", "ct.pad", "ct.state"}, section.name


def test_the_header_has_what_all_events_have(btf: Btf) -> None:
    dtype = layout_of(btf).dtype
    for column in (*schema.HEADER, *schema.TASK.columns):
        fits(dtype[column.source], column)
    assert (dtype["present"], dtype["probe"], dtype["stack_id"]) == (np.uint32, np.uint32, np.int32)
    assert dtype.fields is not None
    assert dtype.fields["timestamp_ns"][1] == 0  # rings are ordered by it without knowing the rest


def fits(member: np.dtype, column: Column) -> None:  # type: ignore[type-arg]
    """Check that a member holds what the column's Arrow type promises, with the very width."""
    kind = schema.arrow_type(column)
    if column.type == "binary":
        assert member.base == np.uint8
    elif column.label:
        assert member.kind in "uiS"
    elif column.type == "string":
        assert member.kind == "S"
    elif column.type == "bool":
        assert member == np.uint8
    elif column.null_if is not None and column.null_if < 0:
        assert member.kind == "i"
        assert np.can_cast(kind.to_pandas_dtype(), member) or member == np.int64, column.name
    else:
        assert pa.from_numpy_dtype(member) == kind, column.name


def test_sections_are_apart_in_order_and_aligned(btf: Btf) -> None:
    layout = layout_of(btf)
    end = struct_dtype(btf, "record").itemsize
    for name, offset in sorted(layout.offsets.items(), key=lambda item: layout.bits[item[0]]):
        assert offset % 8 == 0
        assert 0 <= offset - end < 8, f"{name} follows what is before it"
        end = offset + layout.dtype[name].itemsize
    assert layout.record_bytes % 8 == 0
    assert 0 <= layout.record_bytes - end < 8
    assert list(layout.offsets) == sorted(SECTIONS, key=layout.bits.__getitem__)


def test_only_enabled_sections_take_space(btf: Btf) -> None:
    header = struct_dtype(btf, "record").itemsize
    assert layout_of(btf, ()).record_bytes == header
    layout = layout_of(btf, ("dev", "skb_tracking"))
    assert layout.offsets == {"skb_tracking": header, "dev": header + 40}
    assert layout.bits == {name: section_bits(btf)[name] for name in ("skb_tracking", "dev")}
    assert layout.record_bytes == header + 40 + 24
    assert "packet" not in (layout.dtype.names or ())


@pytest.mark.parametrize("snaplen", [1, 7, 8, 255, 256, 2048])
def test_the_packet_takes_what_is_asked_for(btf: Btf, snaplen: int) -> None:
    layout = layout_of(btf, ("packet", "dev"), snaplen)
    packet = layout.dtype["packet"]
    assert packet["data"].shape == (snaplen,)
    assert packet.fields is not None
    assert layout.record_bytes >= layout.offsets["packet"] + packet.fields["data"][1] + snaplen
    before = packet.fields["data"][1]
    more = -(-(before + snaplen) // 8) * 8 - -(-(before + 8) // 8) * 8
    assert layout.record_bytes - layout_of(btf, ("packet", "dev"), 8).record_bytes == more


def test_members_of_every_kind() -> None:
    w = BtfWriter()
    w.enum("section_id", ("SECTION_odd", 3), ("SECTIONS", 4))
    u8, u16, s64, char = w.int("u8", 1), w.int("u16", 2), w.int("s64", 8, True), w.int("char", 1, True)
    named = w.add("typedef", "port_t", u16)
    inner = w.struct("inner", 10, ("port", w.add("const", ref=named), 0), ("id", s64, 16))
    name = w.add("array", words=(char, u8, 5))
    bytes_ = w.add("array", words=(u8, u8, 6))
    flag = w.int("bool", 1)
    choice = w.enum("choice", ("A", 0))
    w.struct("record", 8, ("timestamp_ns", s64, 0))
    w.struct(
        "section_odd",
        32,
        ("from", inner, 0),
        ("name", name, 80),
        ("raw", bytes_, 120),
        ("flag", flag, 168),
        ("choice", choice, 192),
    )
    layout = read_layout(Btf.parse(w.blob()), ("odd",), 0)
    assert layout.bits == {"odd": 3}
    fields = layout.dtype["odd"].fields
    assert fields is not None
    assert {n: (f[0], f[1]) for n, f in fields.items()} == {
        "from": (np.dtype("S10"), 0),
        "from.port": (np.dtype("u2"), 0),
        "from.id": (np.dtype("i8"), 2),
        "name": (np.dtype("S5"), 10),
        "raw": (np.dtype("(6,)u1"), 15),
        "flag": (np.dtype("u1"), 21),
        "choice": (np.dtype("u4"), 24),
    }
    assert layout.record_bytes == 8 + 32
