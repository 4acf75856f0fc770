/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The probes in ovs-vswitchd, and where it receives messages.
 */
#pragma once

#include "collectors/ovs/user.bpf.h"
#include "probes/uprobe.bpf.h"

static __always_inline __u32 collect_vswitchd(struct context *c, const struct user_place *place,
					      const struct parsed *p, struct record *r)
{
	__u32 present = 0;

	COLLECT(userspace);
	COLLECT(ovs_recv, place, p);
	COLLECT(ovs_operation, p);
	if (on(c, SECTION_skb_tracking) &&
	    put_missed_packet(&p->upcall, (void *)r + section_at[SECTION_skb_tracking]))
		present |= 1U << SECTION_skb_tracking;
	return present;
}

_Static_assert(sizeof(struct parsed) <= sizeof(((struct context *)0)->skb_copy), "no room");

static __always_inline void show_vswitchd(struct context *c, void *ctx, const struct user_place *place,
					  const struct parsed *p)
{
	struct record *r;
	void *ring;

	/* A filter decided where the packet was; of others, and of what vswitchd does by itself, nothing is shown. */
	if (!p->upcall.queue_id && (packet_filter_on || inner_filter_on || field_filter_on))
		return;
	ring = bpf_map_lookup_elem(&rings, &c->cpu);
	if (!ring)
		return;
	r = open_record(c, ring, ctx);
	if (r)
		close_record(c, ring, r, collect_vswitchd(c, place, p, r));
}

static __always_inline void vswitchd_event(void *ctx, __u32 probe_id)
{
	struct context c = { .ctx = ctx };
	/* There is no packet: the stack has no room for both. */
	struct parsed *p = (void *)c.skb_copy;
	struct user_place *place;
	__u64 put;

	/* --pid is asked of packets, where the kernel sees them. */
	if (!look_up(&c, probe_id))
		return;
	count(&c.counters->hits);
	place = bpf_map_lookup_elem(&user_places, &probe_id);
	if (!place)
		return;
	if (c.probe->flags & PROBE_OVS_RECV) {
		parse_upcall(&c, place, p);
	} else if (c.probe->flags & PROBE_OVS_PUT) {
		put = user_value(&c, place, 1);
		put_operation(&c, put + FLOW_PUT_KEY, put + FLOW_PUT_KEY_LENGTH, p);
	} else {
		execute_operation(&c, user_value(&c, place, 2), user_value(&c, place, 3), p);
	}
	show_vswitchd(&c, ctx, place, p);
}

/* Requests that are handed to a function at once. */
struct operations {
	void *ctx;
	__u64 ops; /* struct dpif_op **, in the process */
	__u32 probe_id;
};

#define MOST_OPERATIONS (2 * MOST_UPCALLS) /* a flow and a packet for each upcall of a batch */

/* A context up to what was parsed. No packet is looked at here, and of the stack three functions are to have a part: with
 * the whole it was 560 bytes on Linux 6.12, 512 are allowed. */
struct short_context {
	__u64 words[(__builtin_offsetof(struct context, skb_copy) + sizeof(struct parsed)) / sizeof(__u64)];
};

/* Each is a hit of the probe. */
static int one_operation(__u32 n, struct operations *o)
{
	struct short_context room = {};
	struct context *c = (void *)&room;
	struct parsed *p = (void *)c->skb_copy;
	struct user_place *place;
	__u64 op = 0;

	c->ctx = o->ctx;
	if (!look_up(c, o->probe_id))
		return 1;
	place = bpf_map_lookup_elem(&user_places, &o->probe_id);
	if (!place || bpf_probe_read_user(&op, sizeof(op), (void *)o->ops + n * sizeof(op)))
		return 1;
	if (!any_operation(c, place, op, p))
		return 0;
	count(&c->counters->hits);
	show_vswitchd(c, o->ctx, place, p);
	return 0;
}

static __always_inline void vswitchd_operations(void *ctx, __u32 probe_id)
{
	struct operations o = { .ctx = ctx, .probe_id = probe_id };
	struct user_place *place = bpf_map_lookup_elem(&user_places, &probe_id);
	__u64 n = 0;

	if (!place || !user_argument(ctx, &place->arguments[OPS], &o.ops) ||
	    !user_argument(ctx, &place->arguments[OPS_COUNT], &n))
		return;
	bpf_loop(n < MOST_OPERATIONS ? n : MOST_OPERATIONS, one_operation, &o, 0);
}

/* Messages of all sockets come here. */
SEC("?raw_tracepoint")
int ovs_received(void *ctx)
{
	struct context c = { .ctx = ctx };

	if (look_up(&c, raw_tracepoint_cookie ? (__u32)bpf_get_attach_cookie(ctx) : marked_probe_id())) {
		count(&c.counters->hits);
		note_received(&c);
	}
	return 0;
}

SEC("?kprobe")
int ovs_usdt(void *ctx)
{
	keep_own_stack(ctx);
	vswitchd_event(ctx, kprobe_cookie ? (__u32)bpf_get_attach_cookie(ctx) : marked_probe_id());
	return 0;
}

SEC("?kprobe")
int ovs_operations(void *ctx)
{
	keep_own_stack(ctx);
	vswitchd_operations(ctx, kprobe_cookie ? (__u32)bpf_get_attach_cookie(ctx) : marked_probe_id());
	return 0;
}
