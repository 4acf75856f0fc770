/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The actions that Open vSwitch's datapath runs on a packet, with their arguments.
 */
#pragma once

#include "collectors/ovs/ovs.bpf.h"

#define OVS_ARGUMENTS 104 /* bytes kept: IPv6 with its mask has 84, struct ovs_ct all */

/* An action, whole: names are found for it once. */
struct ovs_action {
	__u16 type;		       /* enum ovs_action_attr */
	__u16 bytes;		       /* of its arguments, as far as they were kept */
	__u8 arguments[OVS_ARGUMENTS]; /* as in the netlink attribute, but for conntrack and tunnels */
};

struct section_ovs_action {
	struct ovs_action action;
	__u32 recirc_id; /* what the packet came in with, 0: it wasn't recirculated */
	__u32 queue_id;	 /* of the message that the packet comes back from, 0: of none */
	__u32 port;	 /* of an output */
	__u32 recirc;	 /* the new recirculation id */
	__u32 reason;	 /* of a drop */
	char port_name[16];
};

KEEP_TYPE(struct, section_ovs_action);

/* What conntrack is told, in words of our own. The flags are Retis'. */
struct ovs_ct {
	__u32 flags;
	__u16 zone;
	__u16 family;
	__u16 min_port; /* in network order */
	__u16 max_port;
	__u32 min_address[4];
	__u32 max_address[4];
	__u32 mark;
	__u32 mark_mask;
	__u32 labels[4];
	__u32 labels_mask[4];
	char helper[16];
};

struct ovs_tunnel {
	struct nlattr key; /* of the type OVS_KEY_ATTR_TUNNEL_INFO */
	__u8 id[8];
	__u8 addresses[32]; /* source and destination: 4 bytes each, or 16 */
	__u16 source_port;  /* in network order */
	__u16 destination_port;
	__u16 flags; /* bits IP_TUNNEL_*_BIT, in network order */
	__u8 tos;
	__u8 ttl;
	__u8 mode; /* IP_TUNNEL_INFO_* */
	__u8 pad;
};

KEEP_TYPE(struct, ovs_ct);
KEEP_TYPE(struct, ovs_tunnel);

static __always_inline void put_ct(struct context *c, struct ovs_conntrack_info *from, struct ovs_ct *to)
{
	/* At the place of the copy of the skb, which is taken again. */
	struct ovs_conntrack_info *info = (void *)c->skb_copy;
	__u32 size = bpf_core_type_size(struct ovs_conntrack_info), nat, range, flags = 0;

	if (size > sizeof(c->skb_copy))
		size = sizeof(c->skb_copy);
	bpf_probe_read_kernel(c->skb_copy, size, from);
	nat = BPF_CORE_READ_BITFIELD(info, nat);
	range = nat ? info->range.flags : 0;
	flags |= BPF_CORE_READ_BITFIELD(info, commit) ? 1 << 0 : 0;
	flags |= BPF_CORE_READ_BITFIELD(info, force) ? 1 << 1 : 0;
	flags |= info->family == NFPROTO_IPV4 ? 1 << 2 : 0;
	flags |= info->family == NFPROTO_IPV6 ? 1 << 3 : 0;
	flags |= nat ? 1 << 4 : 0;
	flags |= nat & 2 ? 1 << 5 : 0;	   /* enum ovs_ct_nat: the source */
	flags |= nat & 4 ? 1 << 6 : 0;	   /* ... the destination */
	flags |= range & 1 ? 1 << 7 : 0;   /* NF_NAT_RANGE_MAP_IPS */
	flags |= range & 2 ? 1 << 8 : 0;   /* ..._PROTO_SPECIFIED */
	flags |= range & 4 ? 1 << 9 : 0;   /* ..._PROTO_RANDOM */
	flags |= range & 8 ? 1 << 10 : 0;  /* ..._PERSISTENT */
	flags |= range & 16 ? 1 << 11 : 0; /* ..._PROTO_RANDOM_FULLY */
	to->flags = flags;
	to->zone = info->zone.id;
	to->family = info->family;
	to->mark = info->mark.value;
	to->mark_mask = info->mark.mask;
	__builtin_memcpy(to->labels, &info->labels.value, sizeof(to->labels));
	__builtin_memcpy(to->labels_mask, &info->labels.mask, sizeof(to->labels_mask));
	if (range) {
		__builtin_memcpy(to->min_address, &info->range.min_addr, sizeof(to->min_address));
		__builtin_memcpy(to->max_address, &info->range.max_addr, sizeof(to->max_address));
		to->min_port = info->range.min_proto.all;
		to->max_port = info->range.max_proto.all;
	}
	if (info->helper)
		bpf_probe_read_kernel(to->helper, sizeof(to->helper), &info->helper->name);
	view_skb_again(c);
}

static __always_inline __u16 tunnel_flags(struct ip_tunnel_info *info)
{
	struct ip_tunnel_info___bitmap *newer = (void *)info;

	if (bpf_core_field_exists(newer->key.tun_flags))
		return bpf_htons(ovs_read(newer, key.tun_flags[0]));
	return ovs_read(info, key.tun_flags);
}

static __always_inline void put_tunnel(struct ovs_tunnel_info *from, struct ovs_tunnel *to)
{
	struct metadata_dst *dst = ovs_read(from, tun_dst);
	struct ip_tunnel_info *info = &dst->u.tun_info;

	bpf_probe_read_kernel(to->id, sizeof(to->id), &info->key.tun_id);
	bpf_probe_read_kernel(to->addresses, sizeof(to->addresses), &info->key.u);
	to->source_port = ovs_read(info, key.tp_src);
	to->destination_port = ovs_read(info, key.tp_dst);
	to->flags = tunnel_flags(info);
	to->tos = ovs_read(info, key.tos);
	to->ttl = ovs_read(info, key.ttl);
	to->mode = ovs_read(info, mode);
}

#define VPORT_BUCKETS 1024 /* DP_VPORT_HASH_BUCKETS */
#define VPORT_DEPTH 4	   /* thousands of ports share a bucket by so many */

/* Which device a port of the datapath is now. */
static __always_inline void put_port_name(struct datapath *dp, __u32 port, char name[16])
{
	struct hlist_head *bucket = ovs_read(dp, ports);
	struct hlist_node *node = NULL;

	bucket += port & (VPORT_BUCKETS - 1);
	bpf_probe_read_kernel(&node, sizeof(node), bucket);
	for (int i = 0; i < VPORT_DEPTH && is_kernel_address(node); i++) {
		struct vport *vport = (void *)node - bpf_core_field_offset(struct vport, dp_hash_node);

		if (ovs_read(vport, port_no) == port) {
			struct net_device *dev = ovs_read(vport, dev);

			bpf_probe_read_kernel(name, 16, &dev->name);
			return;
		}
		node = ovs_read(node, next);
	}
}

static __always_inline __u32 first_number(const struct ovs_action *a)
{
	return *(__u32 *)a->arguments;
}

static __always_inline bool collect_ovs_action(struct context *c, const struct tracked *t,
					       struct section_ovs_action *s)
{
	const struct nlattr *from = (void *)argument(c, c->probe->ovs_attr_at);
	struct sw_flow_key *key = (void *)argument(c, c->probe->ovs_key_at);
	struct nlattr attr = {};
	__u32 bytes;

	if (!is_kernel_address(from) || bpf_probe_read_kernel(&attr, sizeof(attr), from))
		return false;
	__builtin_memset(s, 0, sizeof(*s));
	s->action.type = attr.nla_type & NLA_TYPE_MASK;
	s->recirc_id = ovs_read(key, recirc_id);
	s->queue_id = t ? t->queue_id : 0;
	s->port = s->reason = OVS_NONE;
	if (s->action.type == OVS_ACTION_ATTR_CT) {
		s->action.bytes = sizeof(struct ovs_ct);
		put_ct(c, (void *)(from + 1), (void *)s->action.arguments);
		return true;
	}
	bytes = attr.nla_len - sizeof(attr);
	if (bytes > OVS_ARGUMENTS)
		bytes = OVS_ARGUMENTS;
	bpf_probe_read_kernel(s->action.arguments, bytes, from + 1);
	s->action.bytes = bytes;
	if (s->action.type == OVS_ACTION_ATTR_OUTPUT) {
		s->port = first_number(&s->action);
		put_port_name((void *)argument(c, c->probe->ovs_dp_at), s->port, s->port_name);
	} else if (s->action.type == OVS_ACTION_ATTR_RECIRC) {
		s->recirc = first_number(&s->action);
	} else if (s->action.type == OVS_ACTION_ATTR_DROP) {
		s->reason = first_number(&s->action);
	} else if (s->action.type == OVS_ACTION_ATTR_SET &&
		   ((struct nlattr *)s->action.arguments)->nla_type == OVS_KEY_ATTR_TUNNEL_INFO) {
		s->action.bytes = sizeof(struct ovs_tunnel);
		put_tunnel((void *)(from + 2), (void *)s->action.arguments);
	}
	return true;
}
