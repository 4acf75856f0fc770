/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The one way every hit takes, whatever mechanism brought it: filter, track, record, collect, send.
 */
#pragma once

#include "core/context.bpf.h"
#include "core/stack.bpf.h"
#include "core/tracking.bpf.h"
#include "collectors/skb_tracking/skb_tracking.bpf.h"
#include "collectors/skb_drop/skb_drop.bpf.h"
#include "collectors/skb/skb.bpf.h"
#include "collectors/ns/ns.bpf.h"
#include "collectors/dev/dev.bpf.h"

/* One ring a CPU: a shared one collapses under many writers. Created by user space, with the size asked for. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1); /* cpus */
	__type(key, __u32);
	__array(values, struct {
		__uint(type, BPF_MAP_TYPE_RINGBUF);
		__uint(max_entries, 4096);
	});
} rings SEC(".maps");

const volatile __u32 ring_bytes = 4096; /* of one ring */

/* The place of the filters: does this packet begin to interest us here? One that did once is followed. */
static __always_inline bool matches(struct context *c)
{
	return true;
}

static __always_inline bool on(const struct context *c, enum section_id id)
{
	return section_at[id] && c->probe->sections & 1U << id;
}

#define COLLECT(name, ...)                                                                                   \
	do {                                                                                                 \
		if (on(c, SECTION_##name) &&                                                                 \
		    collect_##name(c, ##__VA_ARGS__, (void *)r + section_at[SECTION_##name]))                \
			present |= 1U << SECTION_##name;                                                     \
	} while (0)

static __always_inline __u32 collect(struct context *c, const struct tracked *t, struct record *r)
{
	__u32 present = 0;

	COLLECT(skb_tracking, t);
	COLLECT(skb_drop);
	COLLECT(packet);
	COLLECT(vlan_accel);
	COLLECT(skb_meta);
	COLLECT(skb_dataref);
	COLLECT(skb_gso);
	COLLECT(netns);
	COLLECT(dev);
	return present;
}

/* User space looks at the rings by itself a few dozen times a second; it is woken only when one fills up. */
static __always_inline __u64 wake_up_flags(const struct context *c, void *ring)
{
	if ((c->counters->hits & 31) || bpf_ringbuf_query(ring, BPF_RB_AVAIL_DATA) < ring_bytes / 4)
		return BPF_RB_NO_WAKEUP;
	return BPF_RB_FORCE_WAKEUP;
}

static __always_inline void send(struct context *c, const struct tracked *t, __u32 cpu)
{
	void *ring = bpf_map_lookup_elem(&rings, &cpu);
	struct record *r;
	__u64 pid_tgid;

	if (!ring)
		return;
	r = bpf_ringbuf_reserve(ring, record_bytes, 0);
	if (!r) {
		count(&c->counters->ring_full);
		return;
	}
	r->timestamp_ns = c->timestamp_ns;
	r->cpu = cpu;
	r->probe = c->probe_id;
	pid_tgid = bpf_get_current_pid_tgid();
	r->pid = pid_tgid;
	r->tgid = pid_tgid >> 32;
	bpf_get_current_comm(r->comm, sizeof(r->comm));
	r->stack_id = stack_id(c);
	r->present = collect(c, t, r);
	if (r->present)
		bpf_ringbuf_submit(r, wake_up_flags(c, ring));
	else {
		count(&c->counters->filtered);
		bpf_ringbuf_discard(r, BPF_RB_NO_WAKEUP);
	}
}

static __always_inline struct tracked *track(struct context *c)
{
	struct tracked *t;

	/* Where packets are only forgotten there is no need to know which. */
	if (!tracking_on || !c->skb || !(c->probe->sections || c->probe->flags & PROBE_EXPAND))
		return NULL;
	t = find_tracked(c);
	if (t)
		t->last_seen_ns = c->timestamp_ns;
	return t;
}

static __always_inline void chain(struct context *c, __u32 probe_id)
{
	__u32 cpu = bpf_get_smp_processor_id();
	__u32 counter = probe_id * cpus + cpu;
	struct tracked *t;

	if (!enabled)
		return;
	c->probe_id = probe_id;
	c->probe = bpf_map_lookup_elem(&probes, &probe_id);
	c->counters = bpf_map_lookup_elem(&counters, &counter);
	if (!c->probe || !c->counters)
		return;
	c->timestamp_ns = bpf_ktime_get_ns();
	count(&c->counters->hits);
	context_skb(c, argument(c, c->probe->skb_at));

	t = track(c);
	if (tracking_on && c->skb && c->probe->flags & PROBE_MERGE && t)
		track_merge(c, t);
	if (c->probe->sections) {
		/* A packet merged into another one is only of interest if it was before. */
		if (!t && (c->probe->flags & PROBE_MERGE || !matches(c))) {
			count(&c->counters->filtered);
		} else {
			if (!t && tracking_on && c->skb)
				t = start_tracking(c);
			send(c, t, cpu);
		}
	}
	if (!tracking_on || !c->skb)
		return;
	if (c->probe->flags & PROBE_EXPAND && t)
		track_expand(c, t);
	if (c->probe->flags & (PROBE_FREE | PROBE_FREE_SHARED | PROBE_FREE_IF_STOLEN))
		track_free(c);
}
