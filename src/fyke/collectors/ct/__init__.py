"""ct: the connection that conntrack takes a packet for.

Its state, tuples of both directions (after NAT they differ by more than the direction), the state of TCP and
SCTP, zone, mark, labels, status, the time left, and the connection that it belongs to (FTP). Packets that
conntrack didn't see, or not yet, have none.
"""

from fyke.collectors.api import SKB, Collector
from fyke.collectors.ct.sections import CT, CT_PARENT
from fyke.collectors.kernel_view import KernelView


def _unavailable(kernel: KernelView) -> str | None:
    if kernel.has_type("struct", "nf_conn"):
        return None
    return "this kernel has no connection tracking (CONFIG_NF_CONNTRACK), or its module isn't loaded"


COLLECTOR = Collector("ct", (CT, CT_PARENT), takes=(SKB,), unavailable=_unavailable)
