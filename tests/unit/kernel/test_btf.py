from __future__ import annotations

import struct

import pytest
from btf_writer import BtfWriter
from hypothesis import given, settings
from hypothesis import strategies as st

from fyke.kernel.btf import Btf, Member


class Kernel:
    """A kernel in miniature: an skb, a device, two functions, one tracepoint."""

    def __init__(self) -> None:
        w = self.writer = BtfWriter()
        self.int = w.int("int", 4, signed=True)
        self.u16 = w.add("typedef", "u16", w.int("unsigned short", 2))
        self.device = w.struct("net_device", 64, ("ifindex", self.int, 32))
        self.device_ptr = w.pointer(self.device)
        union = w.struct("", 8, ("next", self.device_ptr, 0), ("dev", self.device_ptr, 0), kind="union")
        self.skb = w.struct(
            "sk_buff", 96, ("", union, 64), ("len", self.int, 128), ("vlan_tci", self.u16, 160)
        )
        self.skb_ptr = w.pointer(self.skb)
        const_skb = w.add("const", ref=self.skb)
        self.const_ptr = w.pointer(const_skb)
        self.fixed_ptr = w.add("const", ref=w.pointer(w.add("volatile", ref=const_skb)))
        self.reason = w.enum("skb_drop_reason", ("SKB_NOT_DROPPED_YET", 0), ("SKB_CONSUMED", 1))
        self.void_ptr = w.pointer(0)
        receive = w.proto(self.int, ("skb", self.skb_ptr), ("dev", self.device_ptr))
        w.func("ip_rcv", receive)
        w.func("skb_peek", w.proto(self.const_ptr, ("n", self.int), ("skb", self.fixed_ptr)))
        w.func("dev_open", w.proto(0, ("dev", self.device_ptr)))
        w.func("printf", w.proto(0, ("fmt", w.pointer(w.int("char", 1))), ("", 0)))
        traced = w.proto(0, ("", self.void_ptr), ("", self.skb_ptr), ("", self.reason))
        w.add("typedef", "btf_trace_kfree_skb", w.pointer(traced))
        self.receive = receive
        self.btf = Btf.parse(w.blob())


@pytest.fixture(scope="module")
def kernel() -> Kernel:
    return Kernel()


def test_types_are_found_by_kind_and_name(kernel: Kernel) -> None:
    assert kernel.btf.find("struct", "sk_buff") == kernel.skb
    assert kernel.btf.find("enum", "skb_drop_reason") == kernel.reason
    assert kernel.btf.find("enum", "sk_buff") is None
    assert kernel.btf.find("typedef", "u16") == kernel.u16


def test_members_inside_anonymous_unions_have_offsets_from_the_outermost(kernel: Kernel) -> None:
    assert kernel.btf.member(kernel.skb, "dev") == Member("dev", kernel.device_ptr, 64)
    assert kernel.btf.member(kernel.skb, "len").offset == 16
    assert kernel.btf.member(kernel.skb, "missing") is None
    assert [m.name for m in kernel.btf.flat_members(kernel.skb)] == ["next", "dev", "len", "vlan_tci"]


def test_bit_fields_have_offset_and_width() -> None:
    w = BtfWriter()
    u8 = w.int("unsigned char", 1)
    skb = w.bitfields("sk_buff", 2, ("cloned", u8, 0, 1), ("nohdr", u8, 9, 2), ("plain", u8, 8, 0))
    btf = Btf.parse(w.blob())
    assert btf.member(skb, "nohdr") == Member("nohdr", u8, 9, 2)
    assert btf.member(skb, "nohdr").offset == 1
    assert btf.member(skb, "plain") == Member("plain", u8, 8, 0)


def test_sizes(kernel: Kernel) -> None:
    w = BtfWriter()
    u16 = w.add("typedef", "u16", w.int("unsigned short", 2))
    row = w.add("array", words=(u16, u16, 3))
    grid = w.add("array", words=(w.add("const", ref=row), u16, 5))
    pointers = w.add("array", words=(w.pointer(0), u16, 4))
    double = w.add("float", "double", 8)
    nothing = w.proto(0)
    btf = Btf.parse(w.blob())
    assert [btf.size(t) for t in (u16, row, grid, pointers, double)] == [2, 6, 30, 32, 8]
    assert kernel.btf.size(kernel.skb) == 96
    for unsized in (0, nothing):
        with pytest.raises(ValueError, match="no size"):
            btf.size(unsized)


def test_enums_of_32_and_64_bits_signed_or_not() -> None:
    w = BtfWriter()
    w.enum("plain", ("ZERO", 0), ("TOP", 0xFFFFFFFF), ("AGAIN", 0))
    w.enum("signed", ("MINUS", -1), signed=True)
    w.enum64("wide", ("HIGH", 1 << 40), ("LOW", 1))
    w.enum64("wide_signed", ("MINUS", -2), signed=True)
    btf = Btf.parse(w.blob())
    assert btf.enum("plain") == {0: "ZERO", 0xFFFFFFFF: "TOP"}
    assert btf.enumerators(btf.find("enum", "plain")) == [("ZERO", 0), ("TOP", 0xFFFFFFFF), ("AGAIN", 0)]
    assert btf.enum("signed") == {-1: "MINUS"}
    assert btf.enum("wide") == {1 << 40: "HIGH", 1: "LOW"}
    assert btf.enum("wide_signed") == {-2: "MINUS"}
    assert btf.enum("none") == {}


def test_types_are_spelled_without_qualifiers(kernel: Kernel) -> None:
    w = BtfWriter()
    number = w.int("int", 4, signed=True)
    skb = w.add("fwd", "sk_buff")
    net = w.add("fwd", "net", flag=True)
    skb_ptr = w.pointer(w.add("type_tag", "rcu", w.add("const", ref=skb)))
    callback = w.pointer(w.proto(number, ("", skb_ptr), ("", 0)))
    types = {
        skb_ptr: "struct sk_buff *",
        w.pointer(w.add("restrict", ref=skb_ptr)): "struct sk_buff **",
        w.pointer(net): "union net *",
        w.add("array", words=(number, number, 16)): "int[16]",
        callback: "int (*)(struct sk_buff *, ...)",
        w.pointer(w.proto(0)): "void (*)(void)",
        w.add("volatile", ref=w.enum("state")): "enum state",
        w.pointer(0): "void *",
    }
    btf = Btf.parse(w.blob())
    assert {t: btf.spell(t) for t in types} == types
    assert kernel.btf.spell(kernel.fixed_ptr) == "struct sk_buff *"
    assert kernel.btf.spell(kernel.u16) == "u16"


def test_prototypes_of_functions_and_tracepoints(kernel: Kernel) -> None:
    prototype = kernel.btf.prototype("ip_rcv")
    assert [(p.name, p.type) for p in prototype.params] == [
        ("skb", "struct sk_buff *"),
        ("dev", "struct net_device *"),
    ]
    assert prototype.returns == "int"
    assert [p.type for p in kernel.btf.prototype("printf").params] == ["char *", "..."]
    assert kernel.btf.prototype("missing") is None
    traced = kernel.btf.tracepoint_prototype("kfree_skb")
    assert [p.type for p in traced.params] == ["struct sk_buff *", "enum skb_drop_reason"]
    assert kernel.btf.tracepoint_prototype("consume_skb") is None
    assert kernel.btf.tracepoints() == ["kfree_skb"]


def test_functions_are_found_by_a_parameters_type_whatever_its_qualifiers(kernel: Kernel) -> None:
    assert kernel.btf.functions_taking("struct sk_buff *") == ["ip_rcv", "skb_peek"]
    assert kernel.btf.functions_taking("struct net_device *") == ["ip_rcv", "dev_open"]
    assert kernel.btf.functions_taking("int") == ["skb_peek"]
    assert kernel.btf.functions_taking("struct sk_buff **") == []
    assert kernel.btf.functions_taking("struct missing *") == []
    several = kernel.btf.functions_taking("int", "struct net_device *")
    assert sorted(several) == ["dev_open", "ip_rcv", "skb_peek"]


def test_a_tracepoints_arguments_have_the_names_of_the_function_that_calls_its_programs() -> None:
    w = BtfWriter()
    number, void = w.int("int"), w.pointer(0)
    for name in ("named", "other"):
        w.add("typedef", f"btf_trace_{name}", w.pointer(w.proto(0, ("", void), ("", number))))
    w.func("__traceiter_named", w.proto(number, ("__data", void), ("budget", number)))
    w.func("__traceiter_other", w.proto(number, ("__data", void), ("budget", void)))
    btf = Btf.parse(w.blob())
    for name, argument in (("named", "budget"), ("other", "")):
        prototype = btf.tracepoint_prototype(name)
        assert prototype
        assert [(p.name, p.type) for p in prototype.params] == [(argument, "int")]


def test_a_modules_btf_continues_the_kernels(kernel: Kernel) -> None:
    base = kernel.btf
    w = BtfWriter(first_id=base.end_id, first_string=base.end_string)
    w.func("mod_rcv", kernel.receive)
    own_const = w.add("const", ref=kernel.skb_ptr)
    w.func("mod_xmit", w.proto(kernel.int, ("skb", own_const)))
    flow = w.struct("sw_flow", 8, ("skb", kernel.skb_ptr, 0))
    w.func("mod_flow", w.proto(0, ("flow", w.pointer(flow))))
    w.add("typedef", "btf_trace_ovs", w.pointer(w.proto(0, ("", kernel.void_ptr), ("", kernel.skb_ptr))))
    module = Btf.parse(w.blob(), base)
    assert module.functions_taking("struct sk_buff *") == ["mod_rcv", "mod_xmit"]
    assert module.functions_taking("struct sw_flow *") == ["mod_flow"]
    assert module.functions() == ["mod_rcv", "mod_xmit", "mod_flow"]
    assert [p.type for p in module.prototype("mod_xmit").params] == ["struct sk_buff *"]
    assert module.prototype("ip_rcv") == base.prototype("ip_rcv")
    assert module.find("struct", "sk_buff") == kernel.skb
    assert module.tracepoints() == ["ovs"]
    assert module.member(flow, "skb").type_id == kernel.skb_ptr
    assert base.find("struct", "sw_flow") is None


def test_modules_are_read_on_first_use(kernel: Kernel, tmp_path) -> None:  # type: ignore[no-untyped-def]
    w = BtfWriter(first_id=kernel.btf.end_id, first_string=kernel.btf.end_string)
    w.func("mod_rcv", kernel.receive)
    (tmp_path / "vmlinux").write_bytes(b"")
    (tmp_path / "good").write_bytes(w.blob())
    (tmp_path / "torn").write_bytes(w.blob()[:-1])
    modules = kernel.btf.modules(tmp_path)
    assert list(modules) == ["good", "torn"]
    assert modules["good"].functions() == ["mod_rcv"]
    assert modules["good"] is modules["good"]
    with pytest.raises(ValueError, match="corrupt"):
        modules["torn"]
    with pytest.raises(KeyError):
        modules["vmlinux"]
    assert list(kernel.btf.modules(tmp_path / "missing")) == []


def test_variables_of_a_bpf_objects_data_section() -> None:
    w = BtfWriter()
    u32 = w.add("volatile", ref=w.int("unsigned int"))
    size = w.add("var", "rec_size", u32, words=(1,))
    flags = w.add("var", "flags", w.add("array", words=(u32, u32, 4)), words=(1,))
    w.add("datasec", ".rodata", 20, words=(size, 0, 4, flags, 4, 16), vlen=2)
    w.add("decl_tag", "tagged", size, words=(0xFFFFFFFF,))
    btf = Btf.parse(w.blob())
    variables = btf.variables(".rodata")
    assert {v.name: (v.offset, v.size) for v in variables.values()} == {"rec_size": (0, 4), "flags": (4, 16)}
    assert btf.spell(variables["flags"].type_id) == "unsigned int[4]"
    assert btf.variables(".bss") == {}


def test_a_kind_of_a_newer_kernel_is_skipped_when_its_size_is_told() -> None:
    w = BtfWriter()
    w.add(25, "novel", 7, words=(1, 2, 3, 4, 5), vlen=2)
    number = w.int("int")
    layout = bytearray(26 * 4)
    layout[25 * 4 : 25 * 4 + 2] = (4, 8)  # one word, then two words per element
    assert Btf.parse(w.blob(bytes(layout))).find("int", "int") == number
    with pytest.raises(ValueError, match="kind"):
        Btf.parse(w.blob())


def test_names_that_are_no_utf8_are_escaped() -> None:
    w = BtfWriter()
    w.strings += b"\xff\x1b\0"
    w.types += struct.pack("<4I", 1, 1 << 24, 4, 32)
    assert Btf.parse(w.blob()).name(1) == "\\xff\x1b"


@pytest.mark.parametrize(
    "make",
    [
        lambda blob: b"",
        lambda blob: blob[:20],
        lambda blob: b"\x7fELF" + blob[4:],
        lambda blob: blob[:2] + b"\x02" + blob[3:],
        lambda blob: blob[:-1],
        lambda blob: blob[:12] + struct.pack("<I", 5) + blob[16:],
        lambda blob: blob[:4] + struct.pack("<I", 8) + blob[8:],
    ],
    ids=["empty", "short", "magic", "version", "no-final-nul", "type-length", "header-length"],
)
def test_what_is_no_btf_is_a_value_error(kernel: Kernel, make) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match="BTF"):
        Btf.parse(make(kernel.writer.blob()))


@pytest.mark.parametrize("kind", ["const", "ptr", "typedef", "struct"])
def test_types_that_refer_to_themselves_are_a_value_error(kind: str) -> None:
    w = BtfWriter()
    if kind == "struct":
        w.struct("", 8, ("", 1, 0))
    else:
        w.add(kind, "" if kind != "typedef" else "loop", 1)
    btf = Btf.parse(w.blob())
    with pytest.raises(ValueError, match="BTF"):
        btf.spell(1) if kind == "ptr" else btf.member(1, "x")


def _use_everything(btf: Btf) -> None:
    for name in btf.functions():
        btf.prototype(name)
    for name in btf.tracepoints():
        btf.tracepoint_prototype(name)
    btf.functions_taking("struct sk_buff *")
    btf.enum("skb_drop_reason")
    for type_id in range(btf.end_id):
        btf.spell(type_id)
    skb = btf.find("struct", "sk_buff")
    if skb is not None:
        list(btf.flat_members(skb))
        btf.size(skb)


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_corrupt_btf_is_a_value_error_and_nothing_else(data: st.DataObject) -> None:
    blob = bytearray(_BLOB)
    for _ in range(data.draw(st.integers(1, 6))):
        blob[data.draw(st.integers(0, len(blob) - 1))] = data.draw(st.integers(0, 255))
    try:
        _use_everything(Btf.parse(bytes(blob[: data.draw(st.integers(0, len(blob)))] or blob)))
    except ValueError:
        return


_BLOB = Kernel().writer.blob()
_use_everything(Btf.parse(_BLOB))
