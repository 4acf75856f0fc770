"""What leads to a packet, a device or a namespace where no argument is one: arguments, and their members."""

from __future__ import annotations

from dataclasses import dataclass

from fyke.capture.kernel import Kernel
from fyke.collectors.api import NET, NET_DEVICE, SKB
from fyke.kernel.btf import Btf
from fyke.kernel.btf_raw import PTR

# What is found -> its type, as BTF spells it.
ENDS = {"skb": SKB, "dev": NET_DEVICE, "net": NET}
_FARTHEST = (1 << 15) - 1  # an offset is 16 bits wide


@dataclass(frozen=True, slots=True)
class Getter:
    """A way to what is sought: from an argument that points to a struct, by its members.

    end: of ENDS. way: members as C has them, `->` behind a pointer and `.` behind a struct in the struct; the
    last is a pointer. Empty: the argument points to a pointer. name: only arguments of this name.
    """

    end: str
    struct: str
    way: str
    name: str = ""

    @property
    def argument(self) -> str:
        """The argument's type, as BTF spells it."""
        return f"struct {self.struct} *" if self.way else f"struct {self.struct} **"

    def path(self, argument: str) -> str:
        """Return the whole way in words: `state->out` of an argument `state`."""
        return f"{argument}->{self.way}" if self.way else f"*{argument}"


def _to(end: str, *ways: str) -> tuple[Getter, ...]:
    """Return the getters of `STRUCT->WAY`."""
    return tuple(Getter(end, struct, way) for struct, _, way in (text.partition("->") for text in ways))


_SKC_NET = "__sk_common.skc_net.net"

# The first that a function has an argument for, and the kernel the members, is taken.
GETTERS = (
    *_to(
        "skb",
        "nft_pktinfo->skb",
        # Linux kernel commit 698bb828a6ec ("netfilter: nf_tables: do not store pktinfo in traceinfo
        # structure") (in v6.4): before it nft_traceinfo was the only way.
        "nft_traceinfo->pkt->skb",
        "nf_queue_entry->skb",
        "sctp_chunk->skb",
        "bpf_sock_ops_kern->skb",
        "sk_reuseport_kern->skb",
        "ieee80211_rx_data->skb",
        "ieee80211_tx_data->skb",
    ),
    # What receives for a device (br_handle_frame) may put another packet in place of its own. Others of this
    # type are for a result, and hold anything before it: they have other names.
    Getter("skb", "sk_buff", "", "pskb"),
    *_to(
        "dev",
        # Where a packet comes from, it has itself; at LOCAL_OUT it has no device yet.
        "nf_hook_state->out",
        "xt_action_param->state->out",
        "napi_struct->dev",
        "netdev_queue->dev",
        "Qdisc->dev_queue->dev",
        "netdev_rx_queue->dev",
        "xdp_buff->rxq->dev",
        "xdp_rxq_info->dev",
        "xdp_frame->dev_rx",
        "xsk_buff_pool->netdev",
        "xdp_sock->dev",
        "page_pool->slow.netdev",
        "page_pool->p.netdev",  # before they were split into fast and slow ones
        "net_bridge_port->dev",
        "net_bridge->dev",
        "vport->dev",
        "slave->dev",
        "bonding->dev",
        "team_port->dev",
        "team->dev",
        "macvlan_dev->dev",
        "macvlan_port->dev",
        "ipvl_dev->dev",
        "ipvl_port->dev",
        "vxlan_dev->dev",
        "geneve_dev->dev",
        "ip_tunnel->dev",
        "ip6_tnl->dev",
        "wg_device->dev",
        "tun_struct->dev",
        "tap_dev->dev",
        "veth_rq->dev",
        "virtnet_info->dev",
        "receive_queue->napi.dev",
        "send_queue->napi.dev",
        "neighbour->dev",
        "dst_entry->dev",
        "rtable->dst.dev",
        "rt6_info->dst.dev",
        "fib_nh_common->nhc_dev",
        "fib6_nh->nh_common.nhc_dev",
        "in_device->dev",
        "inet6_dev->dev",
        "ethnl_req_info->dev",
    ),
    *_to(
        "net",
        "nf_hook_state->net",
        "xt_action_param->state->net",
        f"sock->{_SKC_NET}",
        f"socket->sk->{_SKC_NET}",
        f"inet_sock->sk.{_SKC_NET}",
        f"inet_connection_sock->icsk_inet.sk.{_SKC_NET}",
        f"tcp_sock->inet_conn.icsk_inet.sk.{_SKC_NET}",
        f"udp_sock->inet.sk.{_SKC_NET}",
        f"raw_sock->inet.sk.{_SKC_NET}",
        f"packet_sock->sk.{_SKC_NET}",
        f"unix_sock->sk.{_SKC_NET}",
        f"netlink_sock->sk.{_SKC_NET}",
        f"vsock_sock->sk.{_SKC_NET}",
        f"xdp_sock->sk.{_SKC_NET}",
        f"tun_file->sk.{_SKC_NET}",
        f"mptcp_sock->sk.icsk_inet.sk.{_SKC_NET}",
        f"mptcp_subflow_context->conn->{_SKC_NET}",
        f"sctp_association->base.sk->{_SKC_NET}",
        f"sctp_endpoint->base.sk->{_SKC_NET}",
        f"sctp_transport->asoc->base.sk->{_SKC_NET}",
        f"sk_psock->sk->{_SKC_NET}",
        f"strparser->sk->{_SKC_NET}",
        f"sk_msg->sk->{_SKC_NET}",
        f"bpf_sock_ops_kern->sk->{_SKC_NET}",
        f"sk_reuseport_kern->sk->{_SKC_NET}",
        "sock_common->skc_net.net",
        "request_sock->__req_common.skc_net.net",
        "inet_timewait_sock->__tw_common.skc_net.net",
        "inet_bind_bucket->ib_net.net",
        "inet_bind2_bucket->ib_net.net",
        "nf_conn->ct_net.net",
        "nf_conntrack_expect->master->ct_net.net",
        "nft_ctx->net",
        "nft_set->net.net",
        "ip_vs_conn->ipvs->net",
        "ip_vs_service->ipvs->net",
        "netns_ipvs->net",
        "datapath->net.net",
        "xfrm_state->xs_net.net",
        "xfrm_policy->xp_net.net",
        "fqdir->net",
        "inet_frag_queue->fqdir->net",
        "tcf_block->net",
        "tcf_proto->chain->block->net",
        "tcf_exts->net",
        "fib_rule->fr_net",
        "fib_info->fib_net",
        "fib_config->fc_nlinfo.nl_net",
        "fib6_config->fc_nlinfo.nl_net",
        "nl_info->nl_net",
        "nexthop->net",
        "mr_table->net.net",
        "genl_info->_net.net",
    ),
)


def steps(kernel: Kernel, getter: Getter) -> tuple[int, ...] | None:
    """Return the byte offsets of the pointers to be followed; None where the kernel has no such way."""
    if not getter.way:
        return (0,)
    for btf in kernel.btfs():
        type_id = btf.find("struct", getter.struct)
        if type_id is not None:
            return _offsets(btf, type_id, getter)
    return None


def _offsets(btf: Btf, type_id: int, getter: Getter) -> tuple[int, ...] | None:
    offsets = []
    for hop in getter.way.split("->"):
        at = 0
        for name in hop.split("."):
            try:
                member = btf.member(type_id, name)
            except ValueError:  # no struct, or one that this BTF only names
                return None
            if member is None:
                return None
            at += member.offset
            type_id = btf.resolve(member.type_id)
        if btf.kind(type_id) != PTR or at > _FARTHEST:
            return None
        offsets.append(at)
        pointer, type_id = type_id, btf.resolve(btf.target(type_id))
    return tuple(offsets) if btf.spell(pointer) == ENDS[getter.end] else None
