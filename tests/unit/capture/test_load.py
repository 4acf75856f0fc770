"""What programs are told of their probes, which program is at which, and that the C side has the names."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from made_kernel import made_kernel
from made_plan import RX, planned
from made_records import SOURCES, headers_btf, object_btf

from fyke.capture.layout import read_layout, struct_dtype
from fyke.capture.load import COOKIES, EXITS, PROGRAMS, Loaded
from fyke.capture.plan import Plan, PlannedProbe
from fyke.collectors.skb_tracking import probes as tracking
from fyke.kernel.btf import Btf

SOURCE = "\n".join(path.read_text() for path in sorted(SOURCES.rglob("*.bpf.[ch]")))
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
        self.copies: list[bytes] = []

    def program(self, name: str) -> Any:
        fd = self.fds.setdefault(name, 10 + len(self.fds))
        return SimpleNamespace(fd=fd, load_copy=self._load_copy, instructions=lambda: b"")

    def _load_copy(self, instructions: bytes) -> int:
        self.copies.append(instructions)
        return 100 + len(self.copies)


def loaded(plan: Plan, btf: Btf, cookies: bool = True) -> Any:
    """A collection of which nothing is in the kernel."""
    made: Any = Loaded.__new__(Loaded)
    made.plan = plan
    made._btf = btf
    made._machine = "x86_64"
    made._object = MadeObject()
    made._owned_fds = []
    made.programs = {}
    made.layout = read_layout(btf, plan.sections, plan.snaplen)
    made.cookie = {mechanism: cookies or not flag for mechanism, flag in COOKIES.items()}
    return made


def told(made: Any, probe: PlannedProbe) -> dict[str, int]:
    dtype = struct_dtype(made._btf, "probe")
    (config,) = np.frombuffer(made._config(probe, dtype), dtype)
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


# The C side


def test_every_return_has_its_number_and_its_program(btf: Btf) -> None:
    numbers = {name: value for value, name in btf.enum("exit_id").items()}
    assert numbers.pop("EXITS") == len(EXITS) == len(tracking.EXITS)
    assert set(numbers) == {f"EXIT_{name}" for name in EXITS.values()}
    assert sorted(numbers.values()) == list(range(len(EXITS)))
    assert dict(re.findall(r'SEC\("\?fexit/(\w+)"\)\nint exit_(\w+)\(', SOURCE)) == EXITS


def test_every_flag_is_known_and_none_is_without_a_probe(btf: Btf) -> None:
    own = (tracking.FREE_HEAD, tracking.RELEASE_DATA, *tracking.FUNCTIONS, *tracking.TRACEPOINTS)
    given = {flag for probe in own for flag in probe.flags}
    assert set(btf.enum("probe_flags").values()) == {f"PROBE_{flag}" for flag in given | {"STACK"}}


def test_every_mechanism_has_its_program() -> None:
    programs = set(re.findall(r"^int (probe_\w+)\(", SOURCE, re.MULTILINE))
    assert set(PROGRAMS.values()) == programs
    assert {*PROGRAMS, "fexit"} == set(COOKIES)
