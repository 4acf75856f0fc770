/* SPDX-License-Identifier: GPL-2.0 */
/*
 * XDP programs, at their return: the packet has no skb yet, but a frame. A frame's memory has the address that an skb
 * made of it has as its head, so that one id goes through.
 *
 * Nobody says when a frame ends: it is sent, copied, or its memory is used again. So a program that sees the same
 * memory again sees a new packet, and whoever else does looks at the headers.
 */
#pragma once

#include "probes/fexit.bpf.h"

#define OF_SKB (1U << 15) /* in struct tracked's frame: its end is that of the skb */

static __always_inline struct tracked *find_frame(struct context *c)
{
	__u64 head = (__u64)c->head;
	struct tracked *t = bpf_map_lookup_elem(&tracking, &head);

	if (!t)
		return NULL;
	if (now(c) - t->last_seen_ns < MAX_AGE_NS && (t->frame & ~OF_SKB) != c->probe_id + 1 &&
	    (!t->frame || is_same_frame(c, t))) {
		if (!t->frame)
			t->frame = (c->probe_id + 1) | OF_SKB;
		t->last_seen_ns = now(c);
		return t;
	}
	bpf_map_delete_elem(&tracking, &head);
	return NULL;
}

static __always_inline struct tracked *start_frame(struct context *c)
{
	struct tracked *t = track_from_here(c, 0, 0);

	if (t)
		t->frame = c->probe_id + 1;
	return t;
}

/* What is known of the frame at the return, if it is still that of the call. */
static __always_inline struct tracked *frame_of_call(struct context *c, const struct call *call)
{
	__u64 head = (__u64)c->head;
	struct tracked *t = bpf_map_lookup_elem(&tracking, &head);

	if (!t || t->id.timestamp_ns != call->packet.id.timestamp_ns ||
	    t->id.orig_head != call->packet.id.orig_head)
		return NULL;
	return t;
}

/* Where the network header is, from the frame's memory on; 0: there is none that is known. */
static __always_inline __u32 frame_network_at(struct context *c)
{
	unsigned char *data = frame_data(c);
	__u16 protocol = 0;

	bpf_probe_read_kernel(&protocol, sizeof(protocol), data + 12);
	return protocol == IPV4_BE || protocol == IPV6_BE ? data + 14 - c->head : 0;
}

/* The program has decided. What it doesn't let pass may be sent from this memory, or its memory given to another
 * packet; where the headers can't tell which, or it was dropped, the id ends here. */
static __always_inline void frame_goes(struct context *c, struct tracked *t)
{
	__u64 verdict = result(c), head = (__u64)c->head;

	t->network_at = frame_network_at(c);
	t->fingerprint = fingerprint(c->head, t->network_at);
	if (verdict == XDP_PASS || t->frame & OF_SKB)
		return;
	if (!t->fingerprint || (verdict != XDP_TX && verdict != XDP_REDIRECT))
		bpf_map_delete_elem(&tracking, &head);
}

static __always_inline bool frame_matches_now(struct context *c, struct call *call)
{
	struct tracked *t;

	if (!field_filter_on || !fields_at_return || call->packet.id.timestamp_ns)
		return true;
	if (!fields_match(c))
		return false;
	t = tracking_on ? start_frame(c) : NULL;
	if (t)
		call->packet = *t;
	return true;
}

/* What there is to collect without an skb. */
static __always_inline __u32 collect_frame(struct context *c, struct call *call, struct record *r)
{
	__u32 present = 0;

	COLLECT(retval);
	if (call->packet.id.timestamp_ns)
		COLLECT(skb_tracking, &call->packet);
	COLLECT(packet);
	COLLECT(netns);
	COLLECT(dev);
	return present;
}

static __always_inline void send_frame(struct context *c, struct call *call)
{
	__u32 cpu = c->cpu;
	void *ring = bpf_map_lookup_elem(&rings, &cpu);
	struct record *r;

	if (!ring)
		return;
	r = open_record(c, ring, c->ctx);
	if (r)
		close_record(c, ring, r, collect_frame(c, call, r));
}

static __always_inline void frame_returns(struct context *c, struct call *call)
{
	struct tracked *t;

	context_frame(c);
	if (!c->xdp || !frame_matches_now(c, call))
		return;
	send_frame(c, call);
	if (!call->packet.id.timestamp_ns)
		return;
	t = frame_of_call(c, call);
	if (t)
		frame_goes(c, t);
}

SEC("?fentry")
int entry_xdp(void *ctx)
{
	const bool fields_later = field_filter_on && fields_at_return;
	struct context c = { .ctx = ctx };
	struct tracked *t;

	if (!look_up(&c, marked_probe_id()))
		return 0;
	count(&c.counters->hits);
	context_frame(&c);
	if (!c.xdp)
		return 0;
	t = tracking_on ? find_frame(&c) : NULL;
	if (!t && !matches(&c, !fields_later))
		return 0;
	if (!t && tracking_on && !fields_later)
		t = start_frame(&c);
	keep_call(&c, t, frame_of(&c), false);
	return 0;
}

SEC("?fexit")
int probe_xdp(void *ctx)
{
	struct call_key key = { .task = bpf_get_current_task(), .probe = marked_probe_id() };
	struct context c = { .ctx = ctx };
	struct call *call;

	call = recall(&key, frame_of(&c), 0);
	if (!call)
		return 0;
	if (look_up(&c, key.probe))
		frame_returns(&c, call);
	bpf_map_delete_elem(&calls, &key);
	return 0;
}
