/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The probes in Open vSwitch's datapath. Programs of their own, as only they need its types.
 */
#pragma once

#include "probes/kretprobe.bpf.h"

#define SECOND_ARGUMENT 8 /* the packet, at tracepoints */

SEC("?raw_tracepoint")
int ovs_raw_tracepoint(void *ctx)
{
	struct context c = { .ctx = ctx };
	struct ovs_cpu *here;

	if (!begin(&c, raw_tracepoint_cookie ? (__u32)bpf_get_attach_cookie(ctx) : marked_probe_id(),
		   SECOND_ARGUMENT))
		return 0;
	here = ovs_here();
	if (here && c.probe->flags & PROBE_OVS_UPCALL)
		here->upcall_task = 0; /* of the last one, whose return wasn't seen */
	follow(&c, true);
	return 0;
}

/* By which a message is known to have this packet. 0: a tag will be put in, or its bytes are elsewhere. */
static __always_inline __u64 message_sum(const struct context *c)
{
	const struct sk_buff *skb = c->skb_view;
	__u16 proto, tci;

	if (!c->skb || accelerated_tag(c, &proto, &tci) || skb->len - skb->data_len < UNCHANGED)
		return 0;
	return head_sum(skb->data, skb->len, false);
}

/* A message begins. Where GSO made many packets of one it is of one of these, which has an id of its own, and what comes
 * back is that packet. */
static __always_inline void begin_message(struct context *c)
{
	struct ovs_cpu *here = upcall_here();
	bool followed = c->call.packet.id.timestamp_ns;

	if (!here)
		return;
	here->upcall.packet = followed ? c->call.packet.id : here->whole;
	here->upcall.parent = followed ? c->call.packet.parent : here->whole_parent;
	here->upcall.skb = (__u64)c->skb;
	if (ovs_track) {
		view_skb_again(c); /* the call took its place */
		here->upcall.sum = message_sum(c);
	}
}

static __always_inline int ovs_entry(void *ctx, __u32 probe_id)
{
	__u64 arguments[CALL_REGISTERS] = ARGUMENT_REGISTERS(ctx);
	struct context c = { .ctx = arguments };

	if (!look_up(&c, probe_id))
		return 0;
	count(&c.counters->hits);
	ovs_skb(&c);
	call_begun(&c, REGISTER_AT(ctx, STACK_REGISTER), true);
	if (c.probe->flags & PROBE_OVS_ENQUEUE)
		begin_message(&c);
	return 0;
}

static __always_inline int ovs_return(void *ctx, __u32 probe_id)
{
	struct context c = { .ctx = ctx };

	call_returns(&c, probe_id, REGISTER_AT(ctx, STACK_REGISTER), FRAME_SLACK, true,
		     REGISTER_AT(ctx, RESULT_REGISTER), true);
	return 0;
}

SEC("?kprobe")
int ovs_entry_kretprobe(void *ctx)
{
	return ovs_entry(ctx, kprobe_cookie ? (__u32)bpf_get_attach_cookie(ctx) : marked_probe_id());
}

SEC("?kretprobe")
int ovs_kretprobe(void *ctx)
{
	return ovs_return(ctx, kprobe_cookie ? (__u32)bpf_get_attach_cookie(ctx) : marked_probe_id());
}

SEC("?kprobe.multi")
int ovs_entry_kretprobe_multi(void *ctx)
{
	return ovs_entry(ctx, (__u32)bpf_get_attach_cookie(ctx));
}

SEC("?kretprobe.multi")
int ovs_kretprobe_multi(void *ctx)
{
	return ovs_return(ctx, (__u32)bpf_get_attach_cookie(ctx));
}

/* A flow is looked up next, by a function that doesn't get the packet. */
static __always_inline void note_packet(struct context *c)
{
	struct ovs_cpu *here = ovs_here();

	if (!here)
		return;
	here->lookup_task = bpf_get_current_task();
	here->lookup_skb = (__u64)c->skb;
}

/* A message: of the upcall that goes on here, or of somebody else. */
static __always_inline void note_message(struct context *c)
{
	struct ovs_cpu *here = upcall_here();

	if (!here)
		return;
	here->message = (__u64)c->skb;
	here->upcall.queue_id = next_queue_id(c->cpu);
	if (ovs_track && bpf_map_update_elem(&upcalls_queued, &here->message, &here->upcall, BPF_ANY))
		count(&c->counters->tracking_full);
}

/* A packet comes back: it is the one that missed, though its data is another's copy. */
static __always_inline void note_execute(struct context *c)
{
	__u64 head = (__u64)c->head;
	struct tracked t = {};
	struct execute *e;
	__u32 len;

	if (!tracking_on || !c->skb)
		return;
	len = c->skb_view->len;
	e = take_execute(len, packet_sum(c->skb_view->data, len, false));
	if (!e || !e->upcall.packet.timestamp_ns)
		return;
	t.id = e->upcall.packet;
	t.parent = e->upcall.parent;
	t.queue_id = e->upcall.queue_id;
	t.last_seen_ns = now(c);
	if (bpf_map_update_elem(&tracking, &head, &t, BPF_ANY))
		count(&c->counters->tracking_full);
}

static __always_inline int ovs_note(void *ctx, __u32 probe_id)
{
	struct context c = { .ctx = ctx };
	__u32 flags;

	if (!begin(&c, probe_id, FIRST_REGISTER))
		return 0;
	flags = c.probe->flags;
	if (flags & PROBE_OVS_PROCESS)
		note_packet(&c);
	if (flags & PROBE_OVS_MESSAGE)
		note_message(&c);
	if (ovs_track && flags & PROBE_OVS_EXECUTE)
		note_execute(&c);
	return 0;
}

SEC("?kprobe")
int ovs_kprobe(void *ctx)
{
	return ovs_note(ctx, kprobe_cookie ? (__u32)bpf_get_attach_cookie(ctx) : marked_probe_id());
}

SEC("?kprobe.multi")
int ovs_kprobe_multi(void *ctx)
{
	return ovs_note(ctx, (__u32)bpf_get_attach_cookie(ctx));
}
