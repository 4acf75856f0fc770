/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The place of the filters: code that user space compiles and writes over the fillers below, in the object's image,
 * before it is loaded. The image keeps its size, so that offsets of calls, lines and functions stay right.
 */
#pragma once

#include "core/inner.bpf.h"

#define PACKET_FILTER_INSNS 8192
#define FIELD_FILTER_INSNS 4096

#define STRING(x) #x
#define EXPAND(x) STRING(x)

/* A function of exactly `size` fillers, `r0 = 1` and `exit`. */
#define FILTER_SLOT(name, size)                                                                              \
	static __noinline __u64 name(void *view, __u64 kind)                                                 \
	{                                                                                                    \
		register void *first asm("r1") = view;                                                       \
		register __u64 second asm("r2") = kind;                                                      \
		register __u64 verdict asm("r0");                                                            \
		asm volatile(".rept " EXPAND(size) "\n goto +0\n .endr\n r0 = 1\n"                           \
			     : "=r"(verdict)                                                                 \
			     : "r"(first), "r"(second)                                                       \
			     : "memory");                                                                    \
		return verdict;                                                                              \
	}

FILTER_SLOT(packet_filter, PACKET_FILTER_INSNS)
FILTER_SLOT(inner_filter, PACKET_FILTER_INSNS)
FILTER_SLOT(field_filter, FIELD_FILTER_INSNS)

const volatile bool packet_filter_on = false;
const volatile bool inner_filter_on = false;
const volatile bool field_filter_on = false;
const volatile bool filter_sees_vlan =
	false; /* an accelerated tag is shown to the packet filter in its place */
const volatile __u32 packet_filter_head = 24; /* how many bytes of struct packet_view's head are fetched */
const volatile __u32 inner_filter_head = 24;
const volatile __u32 field_roots = 0;	      /* how many are in use */
const volatile bool fields_at_return = false; /* the field filter looks at the return value */

#define ADDRESSES_BYTES 12 /* what is in front of a VLAN tag */
#define TAG_BYTES 4

static __always_inline bool fetch_tagged(struct packet_view *v, __u64 from, __u16 proto, __u16 tci)
{
	*(__u16 *)(v->head + ADDRESSES_BYTES) = proto;
	*(__u16 *)(v->head + ADDRESSES_BYTES + 2) = __builtin_bswap16(tci);
	v->at = from - TAG_BYTES;
	v->len += TAG_BYTES;
	v->wire_len += TAG_BYTES;
	return !bpf_probe_read_kernel(v->head, ADDRESSES_BYTES, (void *)from) &&
	       !bpf_probe_read_kernel(v->head + ADDRESSES_BYTES + TAG_BYTES,
				      packet_filter_head - ADDRESSES_BYTES - TAG_BYTES,
				      (void *)from + ADDRESSES_BYTES);
}

static __always_inline __u32 packet_verdict(struct context *c)
{
	struct packet_view *v = &c->packet;
	struct packet_place place;
	__u16 proto, tci;
	__u64 from;
	bool tagged;

	if (!find_packet_place(c, &place))
		return VERDICT_REJECT;
	tagged = filter_sees_vlan && c->skb && place.link_layer && place.bytes > ADDRESSES_BYTES &&
		 accelerated_tag(c, &proto, &tci);
	from = (__u64)c->head + place.start;
	v->at = from;
	v->len = place.bytes;
	v->wire_len = place.len;
	if (tagged) {
		if (!fetch_tagged(v, from, proto, tci))
			return VERDICT_UNREADABLE;
	} else if (bpf_probe_read_kernel(v->head, packet_filter_head, (void *)from)) {
		return VERDICT_UNREADABLE;
	}
	return packet_filter(v, place.link_layer ? PACKET_ETHERNET : PACKET_NETWORK);
}

static __noinline __u32 inner_verdict(struct context *c)
{
	struct packet_view *v = &c->packet;
	struct outer_cursor *cursor = (void *)v;
	struct packet_place outer, place = {}; /* for 5.10's verifier, which doesn't see when it is set */
	__u32 found;

	if (!find_packet_place(c, &outer))
		return VERDICT_REJECT;
	cursor->bytes = c->head + outer.start;
	found = find_inner(cursor, &outer, &place);
	if (found != VERDICT_MATCH)
		return found;
	v->at = (__u64)c->head + place.start;
	v->len = place.bytes;
	v->wire_len = place.len;
	if (bpf_probe_read_kernel(v->head, inner_filter_head, (void *)v->at))
		return VERDICT_UNREADABLE;
	return inner_filter(v, place.link_layer ? PACKET_ETHERNET : PACKET_NETWORK);
}

static __always_inline __u64 root(const struct context *c, __s16 at)
{
	return at == ROOT_SKB ? (__u64)c->skb : argument(c, at);
}

static __always_inline bool fields_match(struct context *c)
{
	struct field_view *v = &c->fields;
	__u64 unused = 0;

	/* When the writes go through a pointer that moves over the stack, the verifier of Linux 6.18 (not of 6.12, nor 7.3)
	 * takes it that a root can't be 0, and removes what the filter does then. */
#pragma unroll
	for (int i = 0; i < (int)(sizeof(v->roots) / sizeof(v->roots[0])); i++)
		v->roots[i] = i < field_roots ? root(c, c->probe->root_at[i]) : 0;
	v->result = result(c);
	v->has_result = c->probe->result_at >= 0;
	/* A constant would be set inside the function, among the fillers. */
	barrier_var(unused);
	return field_filter(v, unused);
}

static __always_inline bool is_match(struct context *c, __u32 verdict)
{
	if (verdict == VERDICT_UNREADABLE)
		count(&c->counters->unreadable);
	else if (verdict == VERDICT_NO_LINK_LAYER)
		count(&c->counters->no_link_layer);
	return verdict == VERDICT_MATCH;
}

/* Does this packet begin to interest us here? One that did once is followed. `fields`: whether the field filter is
 * asked, too; at a return that looks at the return value it is asked later. */
static __always_inline bool matches(struct context *c, bool fields)
{
	if (packet_filter_on && !is_match(c, packet_verdict(c)))
		return false;
	if (inner_filter_on) {
		view_skb_again(c);
		if (!is_match(c, inner_verdict(c)))
			return false;
	}
	if (field_filter_on && fields && !fields_match(c))
		return false;
	if (packet_filter_on || inner_filter_on || field_filter_on)
		view_skb_again(c);
	return true;
}
