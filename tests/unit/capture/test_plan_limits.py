"""The limits of a plan on made-up kernels: probes and memory."""

from __future__ import annotations

import mmap

import pytest
from made_plan import planned, refused

from fyke.capture.plan import default_buffer_bytes


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
