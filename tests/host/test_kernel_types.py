"""BTF and symbols of the running kernel, compared with bpftool, tracefs and the kernel's own files."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from fyke.kernel.btf import Btf
from fyke.kernel.kallsyms import Kallsyms
from fyke.kernel.tracepoints import available_events

VMLINUX = Path("/sys/kernel/btf/vmlinux")
pytestmark = pytest.mark.skipif(not VMLINUX.exists(), reason="the kernel has no BTF")
BPFTOOL = shutil.which("bpftool", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
needs_bpftool = pytest.mark.skipif(BPFTOOL is None, reason="bpftool is not installed")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="root is needed")


@pytest.fixture(scope="module")
def vmlinux() -> Btf:
    return Btf.vmlinux()


@pytest.fixture(scope="module")
def dump() -> str:
    assert BPFTOOL
    return subprocess.run(
        [BPFTOOL, "btf", "dump", "file", str(VMLINUX)], check=True, capture_output=True, text=True
    ).stdout


@needs_bpftool
def test_every_type_is_the_one_bpftool_sees(vmlinux: Btf, dump: str) -> None:
    seen = re.findall(r"^\[(\d+)\] (\w+) '(\S*)'", dump, re.M)
    assert len(seen) > 10_000
    assert int(seen[-1][0]) == vmlinux.end_id - 1
    wrong = [(i, name) for i, _, name in seen if vmlinux.name(int(i)) != name.replace("(anon)", "")]
    assert wrong == []


@needs_bpftool
@pytest.mark.parametrize("struct", ["sk_buff", "net_device", "skb_shared_info", "net", "sock"])
def test_members_are_those_bpftool_sees(vmlinux: Btf, dump: str, struct: str) -> None:
    type_id = vmlinux.find("struct", struct)
    assert type_id is not None
    head, _, rest = dump.partition(f"\n[{type_id}] STRUCT '{struct}' ")[2].partition("\n")
    assert vmlinux.size(type_id) == int(head.split("size=")[1].split()[0])
    block = rest.split("\n[", 1)[0]
    theirs = re.findall(r"^\t'(.*)' type_id=(\d+) bits_offset=(\d+)(?: bitfield_size=(\d+))?$", block, re.M)
    ours = [
        (m.name or "(anon)", str(m.type_id), str(m.bit_offset), str(m.bit_size) if m.bit_size else "")
        for m in vmlinux.members(type_id)
    ]
    assert ours == theirs


def test_functions_taking_a_packet_are_those_whose_prototype_says_so(vmlinux: Btf) -> None:
    by_prototype = {
        name
        for name in vmlinux.functions()
        for param in vmlinux.prototype(name).params  # type: ignore[union-attr]
        if param.type == "struct sk_buff *"
    }
    assert len(by_prototype) > 1000
    assert set(vmlinux.functions_taking("struct sk_buff *")) == by_prototype


@pytest.mark.host_only  # a busy machine's emulated seconds say nothing
def test_reading_the_kernels_types_is_quick() -> None:
    start = time.process_time()
    btf = Btf.vmlinux()
    btf.functions_taking("struct sk_buff *")
    btf.tracepoint_prototype("kfree_skb")
    assert time.process_time() - start < 3


def test_the_modules_types_continue_the_kernels(vmlinux: Btf) -> None:
    for name, module in vmlinux.modules().items():
        assert module.first_id == vmlinux.end_id, name
        for function in module.functions():
            assert module.prototype(function) is not None, (name, function)


@needs_root
def test_tracepoints_are_those_of_tracefs(vmlinux: Btf) -> None:
    events = {event.rpartition(":")[2] for event in available_events()}
    for name in ("netif_receive_skb", "net_dev_start_xmit", "kfree_skb", "consume_skb"):
        assert name in events
        prototype = vmlinux.tracepoint_prototype(name)
        assert prototype is not None
        assert prototype.params[0].type == "struct sk_buff *"


@needs_root
def test_every_address_of_a_function_is_named_after_it() -> None:
    symbols = Kallsyms.read()
    assert not symbols.hidden
    wrong = []
    for name in ("ip_rcv", "tcp_v4_rcv", "netif_receive_skb", "kfree_skbmem", "consume_skb"):
        for address in symbols.addresses(name):
            found = symbols.lookup(address + 1)
            if found is None or found.offset != 1:
                wrong.append((name, found))
    assert wrong == []
    assert symbols.symbol(0xDEAD) == "0xdead"
