"""Random field filters in the real kernel: its verifier accepts the code, which says what an evaluation says.

A small program puts `struct field_view` on its stack, as the probe programs do, and calls the code. The
structures are made up, and those of the current task; packets are in test_field_filters.py.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fyke.errors import UsageError
from fyke.filters.asm import CALL, EXIT, Assembler, Insn, Reg, encode
from fyke.filters.fields.grammar import parse
from fyke.filters.fields.kernel_types import KernelTypes
from fyke.filters.fields.lower import FieldView, lower_fields
from fyke.filters.fields.resolve import Types, resolve
from fyke.filters.fields.tree import Expr
from fyke.filters.fields.view import MAX_ROOTS
from fyke.kernel import syscall_bpf as bpf
from fyke.kernel.view import LiveKernel
from live.image import Image, ProgramRun

sys.path.extend([str(Path(__file__).parents[1] / "unit" / part) for part in ("kernel", "filters/fields")])

from field_samples import Samples  # type: ignore[import-not-found]
from made_structs import MadeTypes  # type: ignore[import-not-found]
from oracle import holds  # type: ignore[import-not-found]

pytestmark = pytest.mark.ends_only

VIEW = FieldView()
VIEW_BYTES = VIEW.loaded + 64
IMAGE_BYTES = 1 << 18


def test_expressions() -> None:
    """Half of them with several terms, each on memory of its own."""
    types, true = MadeTypes(), 0
    with Image(LiveKernel(), IMAGE_BYTES) as image:
        for seed in range(160):
            samples = made(seed, image)
            expr = samples.expr(3 if seed % 2 else 0)
            try:
                with loaded(expr, types) as (run, names):
                    roots = [samples.image.roots.get(name, 0) for name in names]
                    roots += [0] * (MAX_ROOTS - len(roots))
                    result = samples.image.result
                    found = run(*roots, (result or 0) & (1 << 64) - 1, result is not None)
            except UsageError as error:
                if "structures" in error.message:  # more roots than there is room for
                    continue
                raise
            expected = holds(expr, samples.image)
            assert found == expected, (seed, str(expr))
            true += expected
    assert 40 < true < 120


def made(seed: int, image: Image) -> Samples:
    samples = Samples(seed, image.address, image.unmapped, any_task=False)
    content = bytearray(IMAGE_BYTES)
    for address, region in samples.image.regions.items():
        at = address - image.address
        content[at : at + len(region)] = region
    # All of it is mapped, what is between the regions too.
    samples.image.regions = {image.address: bytes(content)}
    image.clear()
    assert image.allocate(IMAGE_BYTES) == image.address
    image.write_bytes(image.address, bytes(content))
    return samples


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("current.tgid == PID and task_struct.tgid == PID and current.pid == TID", True),
        ("current.tgid != PID or current.pid in {0-1}", False),
        ('current.comm == "COMM"', True),
        ('current.comm not in {"COMM", "x"}', False),
        ("current.real_parent.pid == PARENT", True),
        ("current.nsproxy.net_ns.ns.inum == NETNS", True),
        ("not current.nsproxy.net_ns.ns.inum in {NETNS}", False),
        ('current.nsproxy.uts_ns.name.sysname == "Linux"', True),
        ('current.nsproxy.net_ns.loopback_dev.name in {"eth0", "lo"}', True),
        ("current.nsproxy.net_ns.loopback_dev.dev_addr == 00:00:00:00:00:00", True),
        ("current.nsproxy.net_ns.loopback_dev.flags:0x8", True),  # IFF_LOOPBACK
        ("current.nsproxy.net_ns.loopback_dev.qdisc:~0x0:Qdisc.flags:~0x0 >= 0", True),
        ("net_device == 0 and sk_buff == 0 and not retval == 0", True),
        ("net_device.ifindex >= 0 or sk_buff.mark != 1 or nf_conn.mark != 1", False),
    ],
)
def test_the_current_task(expression: str, expected: bool) -> None:
    facts = {
        "PID": os.getpid(),
        "TID": os.getpid(),
        "PARENT": os.getppid(),
        "NETNS": os.stat("/proc/self/ns/net").st_ino,
        "COMM": Path("/proc/self/comm").read_text().strip(),
    }
    for name, fact in facts.items():
        expression = expression.replace(name, str(fact))
    with loaded(parse(expression), KernelTypes(LiveKernel())) as (run, _names):
        assert run() == expected


@contextmanager
def loaded(expr: Expr, types: Types) -> Iterator[tuple[ProgramRun, tuple[str, ...]]]:
    """Load a filter: what runs it on (roots..., return value, whether it is one), and its roots' names."""
    resolved = resolve(expr, types)
    code = encode([*caller(), Insn(EXIT), *lower_fields(resolved, VIEW)])
    fd = bpf.prog_load(bpf.PROG_TYPE_RAW_TRACEPOINT, code)
    try:
        yield ProgramRun(fd), resolved.roots
    finally:
        os.close(fd)


def caller() -> list[Insn]:
    """Return code that calls what follows its end; its arguments are what is in the view."""
    code = Assembler()
    places = [*range(VIEW.roots, VIEW.roots + 8 * MAX_ROOTS, 8), VIEW.result, VIEW.result + 8]
    for number, at in enumerate(places):
        code.load(Reg.R2, Reg.R1, 8 * number, 8)
        code.store(Reg.R10, at - VIEW_BYTES, Reg.R2, 8)
    code.mov(Reg.R1, Reg.R10)
    code.alu("add", Reg.R1, -VIEW_BYTES)
    code.exit()
    return [*code.finish()[:-1], Insn(CALL, src=1, imm=1)]
