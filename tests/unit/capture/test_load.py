"""What programs are told of their probes, which program is at which, and that the C side has the names."""

from __future__ import annotations

import re
import struct
from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from made_kernel import made_kernel
from made_plan import RX, planned
from made_records import SOURCES, headers_btf, object_btf

from fyke.capture import elf, marks
from fyke.capture.layout import read_layout, struct_dtype
from fyke.capture.load import EXITS, Loaded
from fyke.capture.mechanisms import MECHANISMS
from fyke.capture.plan import Plan
from fyke.capture.planned import PlannedProbe
from fyke.capture.settings import probe_config
from fyke.collectors.ct.events import CONNECTS, CREATED, DESTROYED
from fyke.collectors.ovs.probes import EVENTS as OVS_EVENTS
from fyke.collectors.ovs.probes import NOTES as OVS_NOTES
from fyke.collectors.ovs.user import PROBES as OVS_USER
from fyke.collectors.ovs.user import RECEIVED_FLAG
from fyke.collectors.skb_tracking import probes as tracking
from fyke.kernel import syscall_bpf
from fyke.kernel.bpf_programs import BpfProgram
from fyke.kernel.btf import Btf

SOURCE = "\n".join(path.read_text() for path in sorted(SOURCES.rglob("*.bpf.[ch]")))
OWN_BYTES = 6 * 8
OFFSETS = ("skb_at", "dev_at", "net_at", "reason_at", "other_at", "result_at")


@pytest.fixture(params=["headers", "object"])
def btf(request: pytest.FixtureRequest) -> Btf:
    found = headers_btf() if request.param == "headers" else object_btf()
    if found is None:
        pytest.skip("no BPF object is built")
    return found


class MadeObject:
    """Programs by name, each with a descriptor; copies get new ones."""

    def __init__(self) -> None:
        self.fds: dict[str, int] = {}
        self.copies: list[tuple[bytes, int, int]] = []
        self.code = b""

    def program(self, name: str) -> Any:
        fd = self.fds.setdefault(name, 10 + len(self.fds))
        return SimpleNamespace(fd=fd, load_copy=self._load_copy, instructions=lambda: self.code)

    def _load_copy(self, instructions: bytes, btf_id: int, btf_fd: int) -> int:
        self.copies.append((instructions, btf_id, btf_fd))
        return 100 + len(self.copies)


def loaded(plan: Plan, btf: Btf, cookies: bool = True) -> Any:
    """A collection of which nothing is in the kernel. cookies: where a kernel may have them."""
    made: Any = Loaded.__new__(Loaded)
    made.plan = plan
    made._btf = btf
    made._machine = "x86_64"
    made._object = MadeObject()
    made._owned_fds, made._module_fds, made._at_program_fds = [], {}, {}
    made._own_bytes = defaultdict(lambda: OWN_BYTES)
    made.programs = {}
    made.layout = read_layout(btf, plan.sections, plan.snaplen)
    made.cookie = {m: how.cookie is not None and (cookies or not how.cookie) for m, how in MECHANISMS.items()}
    symbols = [probe.symbol for probe in plan.probes]
    made._kernel = SimpleNamespace(function_type=lambda name: ("", 1000 + symbols.index(name)))
    made.looks = False
    return made


def config_of(made: Any, probe: PlannedProbe) -> Any:
    raw = probe_config(probe, made._btf, made.layout, made.plan.filters.roots, "x86_64")
    return np.frombuffer(raw, struct_dtype(made._btf, "probe"))[0]


def told(made: Any, probe: PlannedProbe) -> dict[str, int]:
    config = config_of(made, probe)
    return {name: int(config[name]) for name in (*OFFSETS, "flags", "sections")}


def test_a_probe_is_told_where_its_arguments_are(btf: Btf) -> None:
    plan = planned(probes=("drop_for", "tp:" + RX))
    made = loaded(plan, btf)
    by_place = {(p.symbol, p.mechanism): told(made, p) for p in plan.probes}
    nothing = dict.fromkeys(OFFSETS, -1) | {"flags": 0, "sections": 0}
    merge = {"sections": 1 << made.layout.bits["skb_tracking"]}
    assert by_place["pskb_expand_head", "fexit"] == nothing | {"skb_at": 0, "result_at": 32}
    assert by_place["__skb_gso_segment", "fexit"] == nothing | {"skb_at": 0, "result_at": 24}
    assert by_place["skb_gro_receive", "fexit"] == nothing | merge | {
        "skb_at": 8, "other_at": 0, "result_at": 16
    }  # fmt: skip
    # Registers si and di in struct pt_regs.
    assert by_place["kfree_skb_partial", "kprobe_multi"] == nothing | {
        "skb_at": 112, "other_at": 104, "flags": 1 << 3
    }  # fmt: skip
    assert by_place["skb_free_head", "kprobe_multi"] == nothing | {"skb_at": 112, "flags": 1 << 1}
    drop = by_place["drop_for", "kprobe_multi"]
    assert (drop["skb_at"], drop["reason_at"], drop["flags"]) == (104, 96, 0)
    assert drop["sections"] == sum(1 << bit for bit in made.layout.bits.values())


def test_a_program_is_shared_by_a_mechanism_and_by_no_returns(btf: Btf) -> None:
    plan = planned(made_kernel(("kprobe", "fentry")), probes=("ip_rcv", "tp:" + RX))
    made = loaded(plan, btf)
    found = {(p.symbol, p.mechanism): made.program_fd(number) for number, p in enumerate(plan.probes)}
    fds = made._object.fds
    assert found["ip_rcv", "kprobe"] == found["skb_free_head", "kprobe"] == fds["probe_kprobe"]
    assert found[RX, "raw_tracepoint"] == fds["probe_raw_tracepoint"]
    assert made.programs == {
        fds["probe_raw_tracepoint"]: ("raw_tracepoint", None),
        fds["probe_kprobe"]: ("kprobe", None),
        fds["exit_gso"]: ("fexit", "__skb_gso_segment"),
        fds["exit_gro"]: ("fexit", "skb_gro_receive"),
        fds["exit_gro_list"]: ("fexit", "skb_gro_receive_list"),
        fds["exit_expand"]: ("fexit", "pskb_expand_head"),
    }
    assert made._owned_fds == []  # they are the object's


def test_without_cookies_each_probe_has_a_program_of_its_own(btf: Btf) -> None:
    plan = planned(made_kernel(("kprobe",)), probes=("ip_rcv", "tp:" + RX))
    made = loaded(plan, btf, cookies=False)
    found = [made.program_fd(number) for number in range(len(plan.probes))]
    assert made.programs == {fd: (p.mechanism, p.symbol) for fd, p in zip(found, plan.probes, strict=True)}
    assert made._owned_fds == found


def test_a_trampoline_has_a_program_for_its_function(btf: Btf) -> None:
    made = loaded(planned(probes=("fe:ip_rcv", "fe:ip_output", "k:ip_rcv")), btf)
    found = [made.program_fd(number) for number in range(3)]
    assert [copy[1:] for copy in made._object.copies] == [(1000, 0), (1001, 0)]
    assert {fd: made.programs[fd] for fd in found} == {
        found[0]: ("fentry", "ip_rcv"),
        found[1]: ("fentry", "ip_output"),
        found[2]: ("kprobe_multi", None),
    }
    assert told(made, made.plan.probes[1])["skb_at"] == 16


def test_a_copy_knows_its_number_and_what_is_collected_there(btf: Btf) -> None:
    made = loaded(planned(collectors=("skb", "dev", "ns"), probes=("fe:ip_rcv", "fe:dev_open")), btf)
    mov, add, marks = 0xB7, 0x07, (0x5CA1AB1E, 0x0C011EC7, 0x5FFFFFFF)
    # Other instructions have other meanings, and so has what is behind the program's own code: filters.
    own_and_filter = [(op, mark) for op in (mov, add, mov) for mark in marks]
    made._object.code = b"".join(struct.pack("=BBhI", op, 0, 0, mark) for op, mark in own_and_filter)
    for number in range(2):
        made.program_fd(number)
    for number, (copy, *_) in enumerate(made._object.copies):
        values = [imm for *_, imm in struct.iter_unpack("=BBhI", copy)]
        sections = sum(1 << made.layout.bits[section] for section in made.plan.probes[number].sections)
        assert values == [number, 1, sections, *marks, *marks]
    assert made.plan.probes[0].sections > made.plan.probes[1].sections


def test_what_only_copies_run_of_collects_nothing_itself(btf: Btf) -> None:
    """In the real object: the verifier finds no section in it, and a copy gets its own all the same."""
    path = SOURCES / "bpf" / "objects" / "fyke.x86_64.bpf.o"
    if not path.exists():
        pytest.skip("no BPF object is built")
    image = path.read_bytes()
    emptied = marks.empty(image, {"probe_fentry"})
    mark, none, number = (struct.pack("=I", n) for n in (0x5FFFFFFF, 0xC0000000, 0x5CA1AB1E))
    for name, place in elf.functions(image):
        before, after = (data[place.offset :][: place.size] for data in (image, emptied))
        if name == "probe_fentry":
            assert (before.count(mark), after.count(mark)) == (after.count(none), 0)
            assert after.count(none) >= len(btf.enum("section_id")) // 2
            copy = marks.replaced(after, len(after), 7, collects=True, sections=5)
            assert not copy.count(none) + copy.count(mark) + copy.count(number)
        else:
            assert before == after
    assert len(emptied) == len(image)


def test_every_section_is_in_the_mark_of_all_of_them(btf: Btf) -> None:
    """A program that many probes share collects by their configuration alone."""
    bits = [bit for bit, name in btf.enum("section_id").items() if name != "SECTIONS"]
    assert all(0x5FFFFFFF >> bit & 1 and not 0xC0000000 >> bit & 1 for bit in bits)


def test_a_return_is_told_which_bits_are_the_values(btf: Btf) -> None:
    made = loaded(planned(probes=("fx:ip_rcv", "ip_rcv")), btf)
    configs = [config_of(made, probe) for probe in made.plan.probes[:2]]
    found = [(int(c["result_at"]), int(c["result_unused"]), bool(c["result_signed"])) for c in configs]
    assert found == [(32, 32, True), (-1, 0, False)]


def test_a_return_has_a_program_for_its_entry(btf: Btf) -> None:
    made = loaded(planned(probes=("fx:ip_rcv", "kr:ip_rcv")), btf)
    ends = [made.program_fd(number) for number in range(2)]
    begins = [made.entry_fd(number) for number in range(2)]
    assert len({*ends, *begins}) == 4
    # Misses of a return's program are counted as returns that were missed.
    assert made.programs == {begins[0]: ("fexit", "ip_rcv"), begins[1]: ("kretprobe_multi", None)}
    assert made._object.fds.keys() >= {"entry_kretprobe_multi", "probe_kretprobe_multi"}


def test_programs_at_a_bpf_program_are_made_for_its_function(
    btf: Btf, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[int] = []
    monkeypatch.setattr(syscall_bpf, "program_fd", lambda number: opened.append(number) or 77)
    program = BpfProgram(3, "xdp", "balance", 9, arguments=5)
    made = loaded(planned(made_kernel(programs=[program]), probes=("xdp:balance",)), btf)
    made.program_fd(0)
    made.entry_fd(0)
    assert [copy[1:] for copy in made._object.copies] == [(9, 77), (9, 77)]
    assert made._object.fds.keys() == {"probe_xdp", "entry_xdp"}
    assert opened == [3]
    assert told(made, made.plan.probes[0])["result_at"] == 40


# The C side


def test_every_return_has_its_number_and_its_program(btf: Btf) -> None:
    numbers = {name: value for value, name in btf.enum("exit_id").items()}
    exits = (*tracking.EXITS, tracking.COPY_EXIT)
    assert numbers.pop("EXITS") == len(EXITS) == len(exits)
    assert set(numbers) == {f"EXIT_{name}" for name in EXITS}
    assert sorted(numbers.values()) == list(range(len(EXITS)))
    assert dict(re.findall(r'SEC\("\?fexit/(\w+)"\)\nint exit_(\w+)\(', SOURCE)) == {
        e.symbol: e.exit for e in exits
    }


def test_every_flag_is_known_and_none_is_without_a_probe(btf: Btf) -> None:
    own = (
        tracking.FREE_HEAD,
        tracking.RELEASE_DATA,
        *tracking.FUNCTIONS,
        *tracking.TRACEPOINTS,
        tracking.COPY,
    )
    given = {flag for probe in own for flag in probe.flags}
    given |= {probe.flag for probe in (CREATED, DESTROYED, CONNECTS)}
    given |= {probe.flag for probe in (*OVS_EVENTS, *OVS_NOTES)} | {RECEIVED_FLAG}
    given |= {flag for probe in OVS_USER for flag in probe.flags}
    assert set(btf.enum("probe_flags").values()) == {
        f"PROBE_{flag}" for flag in given | {"STACK", "LOOK", "FRAMES"}
    }


def test_every_mechanism_has_its_program() -> None:
    programs = set(re.findall(r"^int ((?:probe|entry|connection|ovs)_\w+)\(", SOURCE, re.MULTILINE))
    assert {name for how in MECHANISMS.values() for name in how.programs} == programs
