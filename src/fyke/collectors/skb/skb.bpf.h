/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The packet's bytes, and the fields of its skb.
 */
#pragma once

#include "core/packet.bpf.h"

struct section_packet {
	__u32 len;
	__u32 capture_len;
	__u8 link_layer; /* 0: its Ethernet header is made up */
	__u8 pad[3];
	__u8 data[]; /* snaplen */
};

struct section_vlan_accel {
	__u16 proto;
	__u16 vid;
	__u8 pcp;
	__u8 dei;
	__u16 pad;
};

struct section_skb_meta {
	__u32 len;
	__u32 data_len;
	__u32 hash;
	__u32 csum;
	__u32 priority;
	__u8 ip_summed;
	__u8 csum_level;
	__u16 pad;
};

struct section_skb_dataref {
	__u8 nohdr;
	__u8 cloned;
	__u8 fclone;
	__u8 users;
	__u8 dataref;
	__u8 pad[3];
};

struct section_skb_gso {
	__u32 size;
	__u32 segs;
	__u32 type;
	__u8 flags;
	__u8 frags;
	__u16 pad;
};

KEEP_TYPE(struct, section_packet);
KEEP_TYPE(struct, section_vlan_accel);
KEEP_TYPE(struct, section_skb_meta);
KEEP_TYPE(struct, section_skb_dataref);
KEEP_TYPE(struct, section_skb_gso);

const volatile __u32 snaplen = 256; /* bytes kept of a packet */

struct skb_shared_info___before_v5_12 {
	/* Linux kernel commit 06b4feb37e64 ("net: group skb_shinfo zerocopy related bits together.") (in v5.12). */
	__u8 tx_flags;
} __kernel_struct;

#define ETHERNET_BYTES 14

/* Most packets have a link-layer header by now; to the others (local output, tunnels' inside) one is given that
 * says no more than the network protocol. */
static __always_inline bool collect_packet(struct context *c, struct section_packet *s)
{
	struct packet_place place;
	unsigned char *from;
	__u32 kept;

	if (!find_packet_place(c, &place))
		return false;
	from = c->head + place.start;
	kept = place.bytes;
	s->link_layer = place.link_layer;
	s->len = place.len;
	if (place.link_layer) {
		if (kept > snaplen)
			kept = snaplen;
		s->capture_len = kept;
		return !bpf_probe_read_kernel(s->data, kept, from);
	}
	if (!c->skb || !c->skb_view->protocol || snaplen < ETHERNET_BYTES)
		return false;
	__builtin_memset(s->data, 0, 12);
	*(__u16 *)(s->data + 12) = c->skb_view->protocol;
	if (kept > snaplen - ETHERNET_BYTES)
		kept = snaplen - ETHERNET_BYTES;
	s->len += ETHERNET_BYTES;
	s->capture_len = kept + ETHERNET_BYTES;
	return !bpf_probe_read_kernel(s->data + ETHERNET_BYTES, kept, from);
}

static __always_inline bool collect_vlan_accel(struct context *c, struct section_vlan_accel *s)
{
	__u16 tci, proto;

	if (!c->skb || !accelerated_tag(c, &proto, &tci))
		return false;
	s->proto = __builtin_bswap16(proto);
	s->vid = tci & 0x0fff;
	s->dei = tci >> 12 & 1;
	s->pcp = tci >> 13;
	return true;
}

static __always_inline bool collect_skb_meta(struct context *c, struct section_skb_meta *s)
{
	struct sk_buff *skb = c->skb_view;

	if (!c->skb)
		return false;
	s->len = skb->len;
	s->data_len = skb->data_len;
	s->hash = skb->hash;
	s->csum = skb->csum;
	s->priority = skb->priority;
	s->ip_summed = BPF_CORE_READ_BITFIELD(skb, ip_summed);
	s->csum_level = BPF_CORE_READ_BITFIELD(skb, csum_level);
	return true;
}

static __always_inline bool collect_skb_dataref(struct context *c, struct section_skb_dataref *s)
{
	struct skb_shared_info *info;

	if (!c->skb)
		return false;
	info = (void *)c->head + c->skb_view->end;
	s->nohdr = BPF_CORE_READ_BITFIELD(c->skb_view, nohdr);
	s->cloned = BPF_CORE_READ_BITFIELD(c->skb_view, cloned);
	s->fclone = BPF_CORE_READ_BITFIELD(c->skb_view, fclone);
	s->users = c->skb_view->users.refs.counter;
	s->dataref = kread(info, dataref.counter);
	return true;
}

static __always_inline bool collect_skb_gso(struct context *c, struct section_skb_gso *s)
{
	struct skb_shared_info *info;

	if (!c->skb)
		return false;
	info = (void *)c->head + c->skb_view->end;
	s->size = kread(info, gso_size);
	s->frags = kread(info, nr_frags);
	if (!s->size && !s->frags)
		return false;
	s->segs = kread(info, gso_segs);
	s->type = kread(info, gso_type);
	if (bpf_core_field_exists(info->flags)) {
		s->flags = kread(info, flags);
	} else {
		struct skb_shared_info___before_v5_12 *old = (void *)info;

		s->flags = kread(old, tx_flags);
	}
	return true;
}
