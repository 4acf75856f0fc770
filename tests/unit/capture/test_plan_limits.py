"""Tracking's own probes on made-up kernels, and the limits of a plan: probes and memory."""

from __future__ import annotations

import mmap

import pytest
from made_kernel import made_kernel
from made_plan import CONSUME, DROP, NO_GSO, RX, TX, USUAL, planned, probes, refused

from fyke.capture.plan import PlannedProbe, default_buffer_bytes
from fyke.collectors.skb_tracking.probes import FUNCTIONS
from fyke.errors import Unsupported
from fyke.kernel.view import LiveKernel

# Tracking


def test_tracking_adds_its_functions_where_it_can_probe_them() -> None:
    plan = planned(collectors=("skb-tracking",), probes=("ip_rcv",))
    own = {p.symbol: p for p in plan.probes if p.internal}
    assert set(own) == {p.symbol for p in FUNCTIONS} - {"napi_reuse_skb"}
    assert own["skb_free_head"] == PlannedProbe(
        "skb_free_head", "kprobe_multi", frozenset(), {"skb": 0}, frozenset({"FREE"})
    )
    assert own["kfree_skb_partial"].arguments == {"skb": 0, "other": 1}
    assert own["kfree_skb_partial"].flags == {"FREE_IF_STOLEN"}
    assert own["skb_gro_receive"].arguments == {"skb": 1, "other": 0}
    assert own["skb_gro_receive"].sections == {"skb_tracking"}
    assert own["pskb_expand_head"].sections == frozenset()


def test_without_tracking_nothing_is_added() -> None:
    plan = planned(collectors=("skb",), probes=("ip_rcv",))
    assert [p.symbol for p in plan.probes] == ["ip_rcv"]
    assert not plan.tracking
    assert not plan.gso_lineage
    assert not plan.verify_identity


@pytest.mark.parametrize(
    ("missing", "lost"),
    [
        ("kfree_skb_partial", "packets that became part of another (kfree_skb_partial)"),
        ("skb_gro_receive", "which packet others were merged into by GRO"),
    ],
)
def test_what_tracking_cannot_see_is_said(missing: str, lost: str) -> None:
    plan = planned(made_kernel(without=(missing,)))
    assert plan.notes == (f"skb-tracking: can't see {lost}: {missing} can't be probed here",)
    assert missing not in probes(plan)
    assert not plan.verify_identity


@pytest.mark.parametrize(
    ("kernel", "why"),
    [
        (made_kernel(("fentry",)), "no kprobes here, this kernel doesn't have it"),
        (made_kernel(without=("skb_free_head",)), "skb_free_head can't be probed"),
    ],
)
def test_tracking_by_tracepoints_alone(kernel: LiveKernel, why: str) -> None:
    plan = planned(kernel)
    assert plan.tracking
    assert plan.verify_identity
    there = probes(plan)
    assert set(there) == {RX, TX, DROP, CONSUME}
    assert there[CONSUME] == PlannedProbe(
        CONSUME, "raw_tracepoint", frozenset(), {"skb": 0}, frozenset({"FREE_SHARED"})
    )
    assert there[DROP].flags == {"FREE_SHARED"}
    assert there[DROP].sections == USUAL | {"skb_drop"}
    assert there[DROP].asked == ("skb-drop",)
    assert plan.notes[0].startswith(f"skb-tracking stands on tracepoints alone ({why}): ")


def test_without_kprobes_functions_are_refused_with_the_reason() -> None:
    for probe in ("ip_rcv", "k:ip_rcv", "ip_*"):
        error = refused(made_kernel(("fentry",)), probes=(probe,))
        assert isinstance(error, Unsupported)
        target = probe.removeprefix("k:")
        assert error.message == f"can't probe function {target}: no kprobes here, this kernel doesn't have it"
        assert error.hint == "use tracepoints: -p tp:SUBSYSTEM:NAME"


def test_a_users_probe_at_trackings_place_serves_both() -> None:
    there = probes(planned(probes=("skb_gro_receive/stack", "skb_free_head", "tp:skb:consume_skb")))
    merge = there["skb_gro_receive"]
    assert merge.flags == {"STACK", "MERGE"}
    assert merge.sections == USUAL
    assert merge.arguments == {"skb": 1, "other": 0}  # tracking knows which of the two packets goes on
    assert not merge.internal
    free = there["skb_free_head"]
    assert (free.flags, free.sections, free.asked) == ({"FREE"}, USUAL, ("skb_free_head",))
    # Functions are probed, so this tracepoint frees nothing.
    assert there[CONSUME].flags == frozenset()


@pytest.mark.parametrize(
    ("kernel", "why"),
    [
        (made_kernel(("kprobe", "kprobe_multi")), "no fexit here: the kernel refuses it"),
        (made_kernel(without=("__skb_gso_segment",)), "no function __skb_gso_segment"),
    ],
)
def test_segments_need_fexit(kernel: LiveKernel, why: str) -> None:
    plan = planned(kernel)
    assert not plan.gso_lineage
    assert plan.notes == (f"{NO_GSO} ({why})",)


# Limits


def test_max_probes() -> None:
    count = len(planned().probes)
    assert len(planned(max_probes=count).probes) == count
    error = refused(max_probes=count - 1)
    assert error.message == f"{count} probes are more than --max-probes {count - 1}"


@pytest.mark.parametrize(
    ("buffer", "cpus", "ring"),
    [
        (64 << 20, 1, 64 << 20),
        (64 << 20, 2, 32 << 20),
        (64 << 20, 3, 16 << 20),  # a ring is a power of two: its share is 21.3 MiB
        (100 << 20, 2, 32 << 20),
        ((64 << 20) - 1, 1, 32 << 20),
        (1, 1, mmap.PAGESIZE),
        (mmap.PAGESIZE * 4, 4, mmap.PAGESIZE),
        (mmap.PAGESIZE * 4 - 1, 4, mmap.PAGESIZE),
        (1 << 31, 1, 1 << 31),
    ],
)
def test_ring_size(buffer: int, cpus: int, ring: int) -> None:
    assert planned(buffer_bytes=buffer, cpus=cpus).ring_bytes == ring


def test_memory_goes_to_the_cpus_that_are_online() -> None:
    plan = planned(buffer_bytes=64 << 20, cpus=240, online=(0, 2, 3, 5))
    assert plan.ring_bytes == 16 << 20
    assert len(plan.ring_sizes) == 240
    assert {cpu for cpu, size in enumerate(plan.ring_sizes) if size == 16 << 20} == {0, 2, 3, 5}
    assert set(plan.ring_sizes) == {16 << 20, mmap.PAGESIZE}
    assert planned(cpus=240, online=(0, 1)).buffer_bytes == 64 << 20


def test_rings_are_whole_pages_on_kernels_with_large_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mmap, "PAGESIZE", 65536)
    assert planned(buffer_bytes=8192, cpus=2).ring_bytes == 65536


def test_more_than_a_ring_can_have_is_refused() -> None:
    error = refused(buffer_bytes=1 << 34, cpus=2)
    assert error.message == "--buffer 17179869184 is more than rings can have: 2 GiB for each of 2 CPUs"


def test_default_buffer() -> None:
    assert default_buffer_bytes(1) == default_buffer_bytes(64) == 64 << 20
    assert default_buffer_bytes(100) == 100 << 20
    assert planned(cpus=100).buffer_bytes == 100 << 20


def test_snaplen_is_kept() -> None:
    assert planned(snaplen=96).snaplen == 96
    assert planned().snaplen == 256
