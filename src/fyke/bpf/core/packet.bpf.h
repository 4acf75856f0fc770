/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Where a packet begins in its skb's memory, and how much of it is there.
 */
#pragma once

#include "core/frame.bpf.h"

struct packet_place {
	__u32 start;	 /* from skb->head */
	__u32 bytes;	 /* in the linear area */
	__u32 len;	 /* in all */
	bool link_layer; /* it begins with a link-layer header; else with the network header */
};

/* XDP sees the packet from its Ethernet header on. */
static __noinline bool find_frame_place(const struct context *c, struct packet_place *p)
{
	unsigned char *data = frame_data(c);

	p->start = data - c->head;
	p->bytes = frame_linear(c, data);
	p->len = p->bytes + frame_beyond(c);
	p->link_layer = true;
	return p->bytes != 0;
}

/* false: neither header is known, or the linear area is empty. */
static __always_inline bool find_packet_place(const struct context *c, struct packet_place *p)
{
	const struct sk_buff *skb = c->skb_view;
	__u32 data_at, tail;
	__u16 mac, network;

	if (is_frame(c))
		return find_frame_place(c, p);
	if (!c->skb)
		return false;
	data_at = skb->data - c->head;
	tail = skb->tail;
	mac = skb->mac_header;
	network = skb->network_header;
	/* A tunnel that has put its header in front leaves the link-layer header behind it; and where no network header
	 * is set yet, it is 0. */
	p->link_layer = mac != 0xffff && (mac < network || !network || network == 0xffff);
	if (p->link_layer)
		p->start = mac;
	else if (network && network != 0xffff)
		p->start = network;
	else
		return false;
	if (tail <= p->start)
		return false;
	p->bytes = tail - p->start;
	p->len = skb->len + data_at - p->start;
	return true;
}

/* The VLAN tag that the kernel keeps beside the packet's bytes, if there is one: TPID in network order, TCI. */
static __always_inline bool accelerated_tag(const struct context *c, __u16 *proto, __u16 *tci)
{
	const struct sk_buff *skb = c->skb_view;

	*tci = skb->vlan_tci;
	*proto = skb->vlan_proto;
	/* Linux kernel commit 354259fa73e2 ("net: remove skb->vlan_present") (in v6.2). */
	if (bpf_core_field_exists(skb->vlan_present))
		return BPF_CORE_READ_BITFIELD(skb, vlan_present);
	return *tci || *proto;
}
