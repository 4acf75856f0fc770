/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What only the return of a function tells of a packet: the segments that were cut from it, that it was merged into
 * another one, that its data has moved. The context is the array of arguments, the return value behind them.
 */
#pragma once

#include "core/chain.bpf.h"

/* GSO makes 45 segments of 64 KiB; BIG TCP more. */
#define MAX_SEGMENTS 512

enum exit_id {
	EXIT_gso,
	EXIT_gro,
	EXIT_gro_list,
	EXIT_expand,
	EXIT_copy,
	EXITS,
};

KEEP_TYPE(enum, exit_id);

const volatile __u32 exit_probe[EXITS] = {}; /* the number of each as a probe */

static __always_inline void track_segment(struct context *c, struct sk_buff *segment,
					  const struct tracked *whole)
{
	struct tracked t = {};
	__u64 head = (__u64)kread(segment, head);

	t.id.timestamp_ns = c->timestamp_ns;
	t.id.orig_head = head;
	t.parent = whole->id;
	t.last_seen_ns = c->timestamp_ns;
	/* -EEXIST: a segment made of a packet that GRO had merged; it is known already. */
	if (bpf_map_update_elem(&tracking, &head, &t, BPF_NOEXIST) == -7 /* E2BIG */)
		count(&c->counters->tracking_full);
}

SEC("?fexit/__skb_gso_segment")
int exit_gso(void *ctx)
{
	struct context c = { .ctx = ctx };
	struct sk_buff *segment;
	struct tracked *whole;

	if (!begin(&c, exit_probe[EXIT_gso], 0) || !c.skb)
		return 0;
	whole = find_packet(c.skb);
	if (!whole)
		return 0;
	now(&c); /* in the loop it would be a branch more for the verifier to follow, each time */
	segment = (void *)argument(&c, c.probe->result_at);
	for (int i = 0; i < MAX_SEGMENTS && is_kernel_address(segment); i++) {
		track_segment(&c, segment, whole);
		segment = kread(segment, next);
	}
	return 0;
}

/* The packet that was merged makes its last event here, which tells where it went. */
static __always_inline void merged(struct context *c)
{
	__u32 cpu = c->cpu, present = 0;
	struct sk_buff *into = (void *)argument(c, c->probe->other_at);
	void *ring = bpf_map_lookup_elem(&rings, &cpu);
	struct tracked *t, *parent;
	struct record *r;

	/* A packet that doesn't fit any more is refused, and goes on by itself. */
	if (!ring || !c->skb || !is_kernel_address(into) || (int)argument(c, c->probe->result_at))
		return;
	t = find_packet(c->skb);
	parent = find_packet(into);
	if (!t || !parent)
		return;
	t->parent = parent->id;
	if (!on(c, SECTION_skb_tracking))
		return;
	r = open_record(c, ring, c->ctx);
	if (!r)
		return;
	COLLECT(skb_tracking, t);
	close_record(c, ring, r, present);
}

SEC("?fexit/skb_gro_receive")
int exit_gro(void *ctx)
{
	struct context c = { .ctx = ctx };

	if (begin(&c, exit_probe[EXIT_gro], 0))
		merged(&c);
	return 0;
}

SEC("?fexit/skb_gro_receive_list")
int exit_gro_list(void *ctx)
{
	struct context c = { .ctx = ctx };

	if (begin(&c, exit_probe[EXIT_gro_list], 0))
		merged(&c);
	return 0;
}

SEC("?fexit/pskb_expand_head")
int exit_expand(void *ctx)
{
	struct context c = { .ctx = ctx };

	if (begin(&c, exit_probe[EXIT_expand], 0) && c.skb)
		track_expanded(&c);
	return 0;
}

/* Not in Linux 6.1, but in 6.12; before, it was part of veth, inlined. */
SEC("?fexit/skb_pp_cow_data")
int exit_copy(void *ctx)
{
	struct context c = { .ctx = ctx };

	if (begin(&c, exit_probe[EXIT_copy], -1))
		track_copied(&c);
	return 0;
}
