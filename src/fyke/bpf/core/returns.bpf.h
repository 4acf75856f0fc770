/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The chain at returns, in two halves. At the entry the packet is still what it is: there it is filtered, and found
 * out which it is. What is of interest is remembered, and becomes an event at the return. By then the packet may be
 * gone, and its memory another's.
 */
#pragma once

#include "core/chain.bpf.h"

struct section_retval {
	__u64 value;
};

KEEP_TYPE(struct, section_retval);

static __always_inline bool collect_retval(struct context *c, struct section_retval *s)
{
	s->value = result(c);
	return true;
}

#define STACK_BITS 14 /* of a kernel stack's size: 16 KiB */

/* A call that has returned, though it wasn't seen: stacks grow downwards. */
static __always_inline bool is_over(__u64 frame, __u64 new_frame)
{
	return (frame ^ new_frame) >> STACK_BITS == 0 && frame <= new_frame;
}

static __always_inline bool remember(struct context *c)
{
	struct call_key key = { .task = bpf_get_current_task(), .probe = c->probe_id };
	struct call *old = NULL;

	for (int level = 0; level < CALL_LEVELS; level++) {
		key.level = level;
		old = bpf_map_lookup_elem(&calls, &key);
		if (!old || is_over(old->frame, c->call.frame))
			break;
	}
	if (old)
		count(&c->counters->missed_return);
	return !bpf_map_update_elem(&calls, &key, &c->call, BPF_ANY);
}

/* The call that returns here: the last that fits. `slack`: how far its frame may be from what was remembered. A
 * function of its own, for room on the caller's stack. */
static __noinline struct call *recall(struct call_key *key, __u64 frame, __u64 slack)
{
	struct call *found = NULL;

	for (int level = 0; level < CALL_LEVELS; level++) {
		struct call_key tried = { .task = key->task, .probe = key->probe, .level = level };
		struct call *call = bpf_map_lookup_elem(&calls, &tried);

		if (!call)
			break;
		if (call->frame - frame + slack > 2 * slack)
			continue;
		found = call;
		key->level = level;
	}
	return found;
}

/* `keep`: the arguments can't be had at the return. */
static __always_inline void keep_call(struct context *c, const struct tracked *t, __u64 frame, bool keep)
{
	__builtin_memset(&c->call, 0, sizeof(c->call));
	if (keep)
		bpf_probe_read_kernel(c->call.arguments, CALL_REGISTERS * sizeof(__u64), c->ctx);
	c->call.frame = frame;
	c->call.head = (__u64)c->head;
	if (t)
		c->call.packet = *t;
	if (!remember(c))
		count(&c->counters->missed_return);
}

/* The half at the entry, after begin(). `frame`: an address on the stack that is the call's alone while it goes on. */
static __always_inline void call_begun(struct context *c, __u64 frame, bool keep)
{
	const bool fields_later = field_filter_on && fields_at_return;
	struct tracked *t;

	t = track(c);
	if (!t && !matches(c, !fields_later))
		return;
	if (!t && tracking_on && c->skb && !fields_later)
		t = start_tracking(c);
	keep_call(c, t, frame, keep);
}

static __always_inline void call_begins(struct context *c, __u32 probe_id, __s16 first_at, __u64 frame,
					bool keep)
{
	if (begin(c, probe_id, first_at))
		call_begun(c, frame, keep);
}

/* Is the packet still there? What is followed is known by its data; else only its memory can be looked at. */
static __always_inline bool is_there(struct context *c, struct call *call)
{
	struct sk_buff *skb = c->skb;
	struct tracked *t;

	if (!skb)
		return false;
	if (!call->packet.id.timestamp_ns)
		return (__u64)c->head == call->head && kread(skb, users.refs.counter) > 0;
	t = find_packet(skb);
	if (!t || t->id.timestamp_ns != call->packet.id.timestamp_ns ||
	    t->id.orig_head != call->packet.id.orig_head)
		return false;
	call->packet = *t;
	return true;
}

/* What differs between returns goes through memory, of which the verifier knows nothing: else it would follow all
 * that is collected once for each. `ctx`: the program's own context. */
static __always_inline void send_return(struct context *c, struct call *call, void *ctx, bool ovs)
{
	__u32 present = 0;
	void *ring = bpf_map_lookup_elem(&rings, &c->cpu);
	struct tracked *t = NULL;
	struct record *r;

	call->skb = (__u64)c->skb;
	c->skb = (void *)(call->skb & call->there);
	c->skb_view = kview(c->skb, c->skb_copy);
	if (!ring)
		return;
	r = open_record(c, ring, ctx);
	if (!r)
		return;
	COLLECT(retval);
	call->present = present;
	if (call->packet.id.timestamp_ns)
		t = &call->packet;
	barrier_var(
		t); /* else the number is tested again in its place, which older verifiers don't understand */
	present = collect(c, t, r, ovs, false) | call->present;
	if (section_at[SECTION_skb_tracking]) /* of one that is gone, too; else nobody looks */
		((struct section_skb_tracking *)((void *)r + section_at[SECTION_skb_tracking]))->skb =
			call->skb;
	close_record(c, ring, r, present);
}

/* A filter of the return value is asked now, if the packet isn't followed. */
static __always_inline bool matches_now(struct context *c, struct call *call)
{
	struct tracked *t;

	if (!field_filter_on || !fields_at_return || call->packet.id.timestamp_ns)
		return true;
	if (!fields_match(c))
		return false;
	view_skb_again(c);
	if (call->there && c->skb && tracking_on) { /* both say it: older verifiers need the latter */
		t = start_tracking(c);
		if (t)
			call->packet = *t;
	}
	return true;
}

/* The half at the return. `keep`: the arguments are those of the entry. */
static __always_inline void call_returns(struct context *c, __u32 probe_id, __u64 frame, __u64 slack,
					 bool keep, __u64 result, bool ovs)
{
	struct call_key key = { .task = bpf_get_current_task(), .probe = probe_id };
	void *ctx = c->ctx;
	struct call *call;

	call = recall(&key, frame, slack);
	if (!call)
		return;
	if (keep) {
		call->arguments[CALL_REGISTERS] = result;
		c->ctx = call->arguments;
	}
	if (look_up(c, probe_id)) {
		if (ovs)
			ovs_skb(c);
		else
			context_skb(c, -1);
		call->there = is_there(c, call) ? -1ULL : 0;
		if (matches_now(c, call))
			send_return(c, call, ctx, ovs);
		if (ovs)
			end_upcall(c);
	}
	bpf_map_delete_elem(&calls, &key);
}
