"""ovs: what Open vSwitch does with a packet.

Which flow of the kernel's datapath it matches, or that none does; its upcall, when it is sent to
ovs-vswitchd, with each message that is made of it; and the actions that are run on it, with their arguments.
Ports are shown with the names that they have at that moment. Adds probes at the tracepoints
`openvswitch:ovs_dp_upcall` and `openvswitch:ovs_do_execute_action`, and at functions of the module
openvswitch, which must be loaded when the collection begins.
"""

from fyke.collectors.api import Collector
from fyke.collectors.kernel_view import KernelView
from fyke.collectors.ovs.probes import EVENTS
from fyke.collectors.ovs.sections import OVS_DETRACE, SECTIONS

_MODULE = "openvswitch"


def _unavailable(kernel: KernelView) -> str | None:
    if not kernel.has_function("ovs_dp_upcall"):
        return f"the module {_MODULE} is not loaded"
    # Linux kernel commit 36e68442d1af ("bpf: Load and verify kernel module BTFs") (in v5.11).
    if not kernel.has_type("struct", "dp_upcall_info"):
        return f"this kernel has no types (BTF) of its module {_MODULE}; kernels have them since Linux 5.11"
    # Linux kernel commit c4ab7b56be0f ("openvswitch: add trace points") (in v5.14).
    if not kernel.has_tracepoint("ovs_dp_upcall"):
        return f"its module {_MODULE} has no tracepoints: Linux 5.14 or newer has"
    return None


def _probes(kernel: KernelView) -> tuple[str, ...]:
    return tuple(p.spec for p in EVENTS if p.spec.startswith("tp:") or kernel.has_function(p.symbol))


def _left_out(_kernel: KernelView) -> frozenset[str]:
    return frozenset({OVS_DETRACE.name})


COLLECTOR = Collector("ovs", SECTIONS, takes=(), probes=_probes, unavailable=_unavailable, left_out=_left_out)
