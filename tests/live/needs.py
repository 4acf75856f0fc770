"""What a live test may need, for @pytest.mark.needs: asked of the kernel, never read off its version."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from subprocess import CalledProcessError
from typing import TYPE_CHECKING

from live.topology import TUNNELS, bridged, nft, slow_queue, tunnel, two_ns, vlan

if TYPE_CHECKING:
    from fyke.kernel.features import Features

__all__ = ["missing"]


@cache
def missing(need: str) -> str:
    """Return why the kernel lacks something, "" when it has it. KeyError for what nobody can ask about.

    need: a name of this file's table, which has what only tests want, or of fyke.kernel.features.
    """
    if need in _OWN:
        return _OWN[need]()
    features = _features()
    return "" if features.has(need) else features[need].why or "the kernel says no"


@cache
def _features() -> Features:
    from fyke.kernel.features import Features

    return Features()


def _vlan() -> str:
    with suppress(CalledProcessError), vlan(1):
        return ""
    return "no VLAN devices (CONFIG_VLAN_8021Q)"


def _tunnel(kind: str) -> str:
    with suppress(CalledProcessError), two_ns() as pair, tunnel(pair, kind):
        return ""
    return f"no {kind} devices"


def _tbf() -> str:
    with suppress(CalledProcessError), two_ns() as pair, slow_queue(pair.a, limit_bytes=3000):
        return ""
    return "no token bucket filter (CONFIG_NET_SCH_TBF)"


def _bridge_module() -> str:
    with bridged():
        return (
            "" if Path("/sys/kernel/btf/bridge").exists() else "the bridge is no module with BTF of its own"
        )


def _veth_gro() -> str:
    # Linux kernel commit d3256efd8e8b ("veth: allow enabling NAPI even without XDP") (in v5.13).
    with two_ns():
        there = "__veth_napi_enable_range" in Path("/proc/kallsyms").read_text()
    return "" if there else "veth has no GRO without XDP"


def _ftp_helper() -> str:
    rules = 'table ip t { ct helper ftp { type "ftp" protocol tcp; }; }'
    with suppress(CalledProcessError), two_ns() as pair, nft(pair.a.ns, rules):
        return ""
    return "conntrack has no FTP helper (CONFIG_NF_CONNTRACK_FTP)"


def _nft_types() -> str:
    with two_ns() as pair, nft(pair.a.ns, "table inet t { }"):
        from fyke.kernel.view import LiveKernel

        there = LiveKernel().has_type("struct", "nft_traceinfo")
    return "" if there else "nothing describes the structures of nf_tables"


def _openvswitch() -> str:
    from live.vswitchd import programs

    if subprocess.run(["modprobe", "openvswitch"], capture_output=True, check=False).returncode:
        return "no module openvswitch"
    if not Path("/sys/kernel/btf/openvswitch").exists():
        return "nothing describes the structures of openvswitch"
    return "" if programs() else "Open vSwitch isn't built (tests/vm/openvswitch.py)"


def _clang() -> str:
    return "" if shutil.which("clang") else "no clang"


_OWN: dict[str, Callable[[], str]] = {
    "clang": _clang,
    "bridge_module": _bridge_module,
    "ftp_helper": _ftp_helper,
    "nft_types": _nft_types,
    "openvswitch": _openvswitch,
    "tbf": _tbf,
    "veth_gro": _veth_gro,
    "vlan": _vlan,
    **{kind: partial(_tunnel, kind) for kind in TUNNELS},
}
