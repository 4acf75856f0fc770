"""ct: the connection that conntrack takes a packet for.

Its state, tuples of both directions (after NAT they differ by more than the direction), the state of TCP and
SCTP, zone, mark, labels, status, the time left, and the connection that it belongs to (FTP's data to its
control), where a helper of conntrack's is loaded when the collection begins. Packets that conntrack didn't
see, or not yet, have none.

With `--ct-events` also events of their own, at which there is no packet: a connection was created, or
destroyed, and why. Where there are filters, only of connections that a packet belongs to which passed them;
with `--netns` alone, of all in that namespace. Adds probes at the functions `__nf_conntrack_hash_insert` and
`__nf_ct_delete_from_lists`, and with filters at `__nf_conntrack_confirm`.
"""

from fyke.collectors.api import SKB, Collector
from fyke.collectors.ct.events import CT_EVENT
from fyke.collectors.ct.sections import CT, CT_PARENT
from fyke.collectors.kernel_view import KernelView

# Of the protocols whose connections bring others; without them the parent's section would double the records.
HELPERS = (
    *(
        "nf_conntrack_amanda",
        "nf_conntrack_ftp",
        "nf_conntrack_h323",
        "nf_conntrack_irc",
        "nf_conntrack_sane",
    ),
    *("nf_conntrack_netbios_ns", "nf_conntrack_pptp", "nf_conntrack_sip", "nf_conntrack_snmp"),
    "nf_conntrack_tftp",
)


def _unavailable(kernel: KernelView) -> str | None:
    if kernel.has_type("struct", "nf_conn"):
        return None
    return "this kernel has no connection tracking (CONFIG_NF_CONNTRACK), or its module isn't loaded"


def _left_out(kernel: KernelView) -> frozenset[str]:
    if any(kernel.has_module(name) for name in HELPERS):
        return frozenset()
    return frozenset({CT_PARENT.name})


COLLECTOR = Collector(
    "ct", (CT, CT_PARENT, CT_EVENT), takes=(SKB,), unavailable=_unavailable, left_out=_left_out
)
