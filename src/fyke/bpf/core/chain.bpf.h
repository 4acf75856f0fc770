/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The one way every hit takes, whatever mechanism brought it: filter, track, record, collect, send.
 */
#pragma once

#include "core/filter.bpf.h"
#include "core/stack.bpf.h"
#include "core/tracking.bpf.h"
#include "collectors/skb_tracking/skb_tracking.bpf.h"
#include "collectors/skb_drop/skb_drop.bpf.h"
#include "collectors/skb/skb.bpf.h"
#include "collectors/ns/ns.bpf.h"
#include "collectors/dev/dev.bpf.h"
#include "collectors/ct/ct.bpf.h"
#include "collectors/nft/nft.bpf.h"
#include "collectors/ovs/actions.bpf.h"

/* One ring a CPU: a shared one collapses under many writers. Created by user space, with the size asked for. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1); /* cpus */
	__type(key, __u32);
	__array(
		values, struct {
			__uint(type, BPF_MAP_TYPE_RINGBUF);
			__uint(max_entries, 4096);
		});
} rings SEC(".maps");

const volatile __u32 ring_bytes = 4096; /* of one ring */

/* May the section be collected by this program, at any of its probes? */
static __always_inline bool may_be_on(enum section_id id)
{
	return section_at[id] && own_sections() & 1U << id;
}

static __always_inline bool on(const struct context *c, enum section_id id)
{
	return may_be_on(id) && c->probe->sections & 1U << id;
}

#define COLLECT(name, ...)                                                                                   \
	do {                                                                                                 \
		if (on(c, SECTION_##name) &&                                                                 \
		    collect_##name(c, ##__VA_ARGS__, (void *)r + section_at[SECTION_##name]))                \
			present |= 1U << SECTION_##name;                                                     \
	} while (0)

/* `ovs`, a constant: the program is of Open vSwitch's probes. Others don't need its types, which take libbpf a while
 * to look for. `action`, another: it may be where an action is run, and not at a return. */
static __always_inline __u32 collect(struct context *c, const struct tracked *t, struct record *r, bool ovs,
				     bool action)
{
	__u32 present = 0;

	if (ovs) {
		COLLECT(ovs_upcall, t, !action);
		COLLECT(ovs_lookup);
		if (action)
			COLLECT(ovs_action, t);
	}

	/* First, where the verifier knows least that may differ: it follows the long way through a chain or a connection
	 * once for each state it comes with. */
	if (!ovs && may_be_on(SECTION_nft)) { /* no rule is looked at in Open vSwitch */
		COLLECT(nft);
		view_skb_again(c); /* its names took its place */
	}
	if (may_be_on(SECTION_ct)) {
		struct nf_conn *parent = NULL;

		COLLECT(ct, &parent);
		COLLECT(ct_parent, parent);
		view_skb_again(c); /* they took its place too */
	}
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

/* Take a record and fill its header; NULL, and counted, when there is no room. `ctx`: the program's own context. */
static __always_inline struct record *open_record(struct context *c, void *ring, void *ctx)
{
	struct record *r = bpf_ringbuf_reserve(ring, record_bytes, 0);
	__u64 pid_tgid;

	if (!r) {
		count(&c->counters->ring_full);
		return NULL;
	}
	r->timestamp_ns = now(c);
	r->cpu = c->cpu;
	r->probe = c->probe_id;
	pid_tgid = bpf_get_current_pid_tgid();
	r->pid = pid_tgid;
	r->tgid = pid_tgid >> 32;
	bpf_get_current_comm(r->comm, sizeof(r->comm));
	r->stack_id = stack_id(c, ctx);
	return r;
}

static __always_inline void close_record(struct context *c, void *ring, struct record *r, __u32 present)
{
	r->present = present;
	/* Read back, as then the verifier needn't know the bits: it would follow what is below, and on 6.1 all that was
	 * since the first section, once for each combination of them. */
	if (*(volatile __u32 *)&r->present) {
		bpf_ringbuf_submit(r, wake_up_flags(c, ring));
		count(&c->counters->recorded);
	} else {
		bpf_ringbuf_discard(r, BPF_RB_NO_WAKEUP);
	}
}

static __always_inline void send(struct context *c, const struct tracked *t, bool ovs)
{
	void *ring = bpf_map_lookup_elem(&rings, &c->cpu);
	struct record *r;
	if (!ring)
		return;
	r = open_record(c, ring, c->ctx);
	if (r)
		close_record(c, ring, r, collect(c, t, r, ovs, true));
}

/* Does anything here depend on whether the packet is one of those that were asked for? */
static __always_inline bool wants_packets(const struct context *c)
{
	return may_collect() &&
	       (c->probe->sections || (note_connections && c->probe->flags & PROBE_CONNECTS));
}

/* No event, but the stack, which user space finds in the map. */
static __always_inline bool only_looks(const struct context *c)
{
	return any_stack && !c->probe->sections && c->probe->flags & PROBE_LOOK;
}

static __always_inline struct tracked *track(struct context *c)
{
	struct tracked *t;

	/* Where packets are only forgotten there is no need to know which. */
	if (!tracking_on || !c->skb || !(wants_packets(c) || c->probe->flags & PROBE_EXPAND || only_looks(c)))
		return NULL;
	t = find_tracked(c);
	if (t)
		t->last_seen_ns = now(c);
	return t;
}

/* What a hit leads to, after begin(). */
static __always_inline void follow(struct context *c, bool ovs)
{
	struct tracked *t;

	if (frames_on && c->probe->flags & PROBE_COPY) {
		track_copy(c);
		return;
	}
	if (on(c, SECTION_nft) && !is_wanted_verdict(c))
		return;
	t = track(c);
	if (t && only_looks(c))
		stack_id(c, c->ctx);
	if (wants_packets(c) && (t || matches(c, true))) {
		note_new_connection(c);
		if (c->probe->sections) {
			if (!t && tracking_on && c->skb)
				t = start_tracking(c);
			send(c, t, ovs);
		}
	}
	if (!tracking_on || !c->skb)
		return;
	if (c->probe->flags & PROBE_EXPAND && t)
		track_expand(c, t);
	if (c->probe->flags & (PROBE_FREE | PROBE_FREE_SHARED | PROBE_FREE_IF_STOLEN | PROBE_RELEASE))
		track_free(c);
}

static __always_inline void chain(struct context *c, __u32 probe_id, __s16 first_at)
{
	if (begin(c, probe_id, first_at))
		follow(c, false);
}
