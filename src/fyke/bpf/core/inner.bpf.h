/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Where the packet inside a tunnel begins: VXLAN (RFC 7348), Geneve (RFC 8926), GRE (RFC 2784, 2890), and IP in IP
 * (RFC 2003, 2473, 4213). Ports are the assigned ones, and the one that Linux used before (8472).
 */
#pragma once

#include "core/packet.bpf.h"

#define ETHERTYPE_IPV4 0x0800
#define ETHERTYPE_IPV6 0x86dd
#define ETHERTYPE_TEB 0x6558 /* Ethernet in GRE and Geneve */
#define VXLAN_PORT 4789
#define VXLAN_PORT_LINUX 8472
#define GENEVE_PORT 6081

/* Reading along the outer packet. It has the place of the view that the filter is given afterwards: on Linux 6.1
 * there is no room on the stack below find_inner()'s callers. */
struct outer_cursor {
	unsigned char *bytes;
	__u32 at;
	__u32 limit; /* what can be read */
	__u32 len;   /* what there is */
	__u32 verdict;
	__u8 header[20]; /* what was read last */
};

_Static_assert(sizeof(struct outer_cursor) <= sizeof(struct packet_view), "it takes its place");

static __always_inline bool read_outer(struct outer_cursor *o, __u32 size)
{
	if (o->at + size > o->limit) {
		o->verdict = o->at + size <= o->len ? VERDICT_UNREADABLE : VERDICT_REJECT;
		return false;
	}
	if (bpf_probe_read_kernel(o->header, size, o->bytes + o->at)) {
		o->verdict = VERDICT_UNREADABLE;
		return false;
	}
	return true;
}

/* Step over the link-layer header and at most two VLAN tags. Returns the ethertype, 0 when it can't be read. */
static __always_inline __u16 step_over_ethernet(struct outer_cursor *o)
{
	__u16 proto;

	o->at += 12;
	for (int tags = 0; tags < 3; tags++) {
		if (!read_outer(o, sizeof(proto)))
			return 0;
		proto = o->header[0] << 8 | o->header[1];
		o->at += 2;
		if (proto != 0x8100 && proto != 0x88a8)
			return proto;
		o->at += 2;
	}
	return 0;
}

/* Step over an IP header and extensions. Returns the protocol inside, -1 when there is none to be seen. */
static __always_inline int step_over_ip(struct outer_cursor *o)
{
	const __u8 *header = o->header;
	int next;

	if (!read_outer(o, 20))
		return -1;
	if (header[0] >> 4 == 4) {
		/* only the first fragment begins with what is inside */
		if (header[6] & 0x1f || header[7])
			return -1;
		o->at += (header[0] & 15) * 4;
		return header[9];
	}
	if (header[0] >> 4 != 6)
		return -1;
	next = header[6];
	o->at += 40;
	/* hop-by-hop, routing and destination options; the kernel's own tunnels put one of the last in front */
	for (int i = 0; i < 3 && (next == 0 || next == 43 || next == 60); i++) {
		if (!read_outer(o, 2))
			return -1;
		next = header[0];
		o->at += (header[1] + 1) * 8;
	}
	return next;
}

/* What an ethertype says the inner packet begins with; -1: neither Ethernet nor IP. */
static __always_inline int inner_kind(__u16 proto)
{
	if (proto == ETHERTYPE_TEB)
		return PACKET_ETHERNET;
	return proto == ETHERTYPE_IPV4 || proto == ETHERTYPE_IPV6 ? PACKET_NETWORK : -1;
}

static __always_inline int step_over_gre(struct outer_cursor *o)
{
	const __u8 *header = o->header;

	/* Version 1 is PPTP's; with the routing of RFC 1701 no length is known, and the kernel drops it. */
	if (!read_outer(o, 4) || header[0] & 0x40 || header[1] & 7)
		return -1;
	/* checksum, key and sequence number have four bytes each */
	o->at += 4 + (header[0] >> 7) * 4 + (header[0] >> 5 & 1) * 4 + (header[0] >> 4 & 1) * 4;
	return inner_kind(header[2] << 8 | header[3]);
}

static __always_inline int step_over_udp(struct outer_cursor *o)
{
	const __u8 *header = o->header;
	__u16 port;

	if (!read_outer(o, 12))
		return -1;
	port = header[2] << 8 | header[3];
	o->at += 8 + 8;
	if (port == VXLAN_PORT || port == VXLAN_PORT_LINUX)
		return header[8] & 8 ? PACKET_ETHERNET : -1;
	if (port != GENEVE_PORT || header[8] >> 6)
		return -1;
	o->at += (header[8] & 0x3f) * 4;
	return inner_kind(header[10] << 8 | header[11]);
}

static __always_inline int step_into(struct outer_cursor *o, int protocol)
{
	switch (protocol) {
	case 4:	 /* IPv4 */
	case 41: /* IPv6 */
		return PACKET_NETWORK;
	case 47:
		return step_over_gre(o);
	case 17:
		return step_over_udp(o);
	}
	return -1;
}

/* Find the packet in a packet, of which `o` has `bytes`. VERDICT_MATCH: `inner` says where; VERDICT_REJECT: there is
 * none. */
static __noinline __u32 find_inner(struct outer_cursor *o, const struct packet_place *outer,
				   struct packet_place *inner)
{
	int kind;

	o->at = 0;
	o->limit = outer->bytes;
	o->len = outer->len;
	o->verdict = VERDICT_REJECT;
	if (outer->link_layer) {
		int proto = step_over_ethernet(o);

		if (proto != ETHERTYPE_IPV4 && proto != ETHERTYPE_IPV6)
			return o->verdict;
	}
	kind = step_into(o, step_over_ip(o));
	if (kind < 0)
		return o->verdict;
	if (o->at >= o->limit)
		return o->at < o->len ? VERDICT_UNREADABLE : VERDICT_REJECT;
	inner->start = outer->start + o->at;
	inner->bytes = outer->bytes - o->at;
	inner->len = outer->len - o->at;
	inner->link_layer = kind == PACKET_ETHERNET;
	return VERDICT_MATCH;
}
