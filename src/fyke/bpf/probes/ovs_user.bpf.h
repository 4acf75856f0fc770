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

static __always_inline void vswitchd_event(void *ctx, __u32 probe_id)
{
	struct context c = { .ctx = ctx };
	/* There is no packet: the stack has no room for both. */
	struct parsed *p = (void *)c.skb_copy;
	struct user_place *place;
	struct record *r;
	void *ring;

	/* --pid is asked of packets, where the kernel sees them. */
	if (!look_up(&c, probe_id))
		return;
	count(&c.counters->hits);
	place = bpf_map_lookup_elem(&user_places, &probe_id);
	if (!place)
		return;
	if (c.probe->flags & PROBE_OVS_RECV)
		parse_upcall(&c, place, p);
	else if (c.probe->flags & PROBE_OVS_PUT)
		put_operation(&c, place, p);
	else
		execute_operation(&c, place, p);
	/* A filter decided where the packet was; of others, and of what vswitchd does by itself, nothing is shown. */
	if (!p->upcall.queue_id && (packet_filter_on || inner_filter_on || field_filter_on))
		return;
	ring = bpf_map_lookup_elem(&rings, &c.cpu);
	if (!ring)
		return;
	r = open_record(&c, ring, ctx);
	if (r)
		close_record(&c, ring, r, collect_vswitchd(&c, place, p, r));
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
	vswitchd_event(ctx, kprobe_cookie ? (__u32)bpf_get_attach_cookie(ctx) : marked_probe_id());
	return 0;
}
