"""BPF programs for tests: compiled and loaded, attached to devices for as long as a test wants."""

from __future__ import annotations

import ctypes
import os
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fyke.capture import libbpf
from fyke.kernel import syscall_bpf
from fyke.kernel.btf import Btf
from live.topology import Host

__all__ = ["Programs", "loaded", "tail_calls", "tc_attached", "xdp_attached"]

_HEAD = """
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>
char LICENSE[] SEC("license") = "GPL";
"""
_BPF_XDP, _OBJ_PIN = 37, 6
_MODES = {"generic": 1 << 1, "native": 1 << 2}  # XDP_FLAGS_SKB_MODE, XDP_FLAGS_DRV_MODE


class Programs:
    """The programs of one object."""

    def __init__(self, opened: libbpf.Object) -> None:
        self._object = opened

    def fd(self, name: str) -> int:
        return self._object.program(name).fd

    def map_fd(self, name: str) -> int:
        return self._object.map_fd(name)

    def numbers(self, name: str, count: int) -> tuple[int, ...]:
        """Return a variable that is an array of 64-bit numbers."""
        variable = Btf.parse(self._object.btf()).variables(".bss")[name]
        whole = len(self._object.data(".bss"))
        value = libbpf.lookup_element(self._object.map_fd(".bss"), struct.pack("=I", 0), whole)
        assert value is not None
        return struct.unpack_from(f"={count}Q", value, variable.offset)


@contextmanager
def loaded(source: str, *, types: bool = True) -> Iterator[Programs]:
    """Compile C and load what is in it; without types as a program has them from a compiler without -g."""
    with tempfile.TemporaryDirectory() as folder:
        c, o = Path(folder, "t.c"), Path(folder, "t.o")
        c.write_text(_HEAD + source)
        multiarch = f"-I/usr/include/{os.uname().machine}-linux-gnu"
        flags = ["-target", "bpf", "-O2", *(["-g"] if types else []), multiarch]
        subprocess.run(["clang", *flags, "-c", c, "-o", o], check=True)
        image = o.read_bytes()
    with libbpf.collected_log() as log:
        opened = libbpf.Object(image)
        try:
            opened.load()
        except OSError as e:
            e.add_note("\n".join(log.lines[-20:]))
            raise
    try:
        yield Programs(opened)
    finally:
        opened.close()


@contextmanager
def xdp_attached(host: Host, fd: int, mode: str) -> Iterator[None]:
    """Attach an XDP program to a host's device, `native` or `generic`."""
    attr = syscall_bpf._attr()
    struct.pack_into("=IIII", attr, 0, fd, host.ifindex, _BPF_XDP, _MODES[mode])
    with host.ns.entered():
        link = syscall_bpf._bpf(syscall_bpf.LINK_CREATE, attr)
    try:
        yield
    finally:
        os.close(link)


@contextmanager
def tc_attached(host: Host, fd: int, direction: str = "ingress") -> Iterator[None]:
    """Attach a program to a host's device by a classifier; `ingress` or `egress`."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["mount", "-t", "bpf", "bpf", folder], check=True)
        try:
            path = Path(folder, "p")
            _pin(fd, path)
            host.ns.run("tc", "qdisc", "add", "dev", host.dev, "clsact")
            host.ns.run(
                *("tc", "filter", "add", "dev", host.dev, direction),
                *("bpf", "direct-action", "object-pinned", str(path)),
            )
        finally:
            subprocess.run(["umount", folder], check=True)
    try:
        yield
    finally:
        host.ns.run("tc", "qdisc", "del", "dev", host.dev, "clsact")


def tail_calls(programs: Programs, name: str, fd: int) -> None:
    """Put a program into the first place of a map of programs."""
    libbpf.update_element(programs.map_fd(name), struct.pack("=I", 0), struct.pack("=I", fd))


def _pin(fd: int, path: Path) -> None:
    text = ctypes.create_string_buffer(bytes(path))
    attr = syscall_bpf._attr()
    struct.pack_into("=QII", attr, 0, ctypes.addressof(text), fd, 0)
    syscall_bpf._bpf(_OBJ_PIN, attr)
