/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What every entry program fills before it calls the chain: the arguments, whatever the mechanism.
 */
#pragma once

#include "core/probe.bpf.h"

struct context {
	void *ctx; /* the program's own context */
	const struct probe *probe;
	struct counters *counters;
	__u64 timestamp_ns;
	__u32 probe_id;
	__u32 cpu;
	struct sk_buff *skb;	  /* its address */
	struct sk_buff *skb_view; /* what to read its members from; valid when skb is not NULL */
	unsigned char *head;	  /* skb->head */
	__u8 skb_copy[256];
};

/* An argument of the probed function or tracepoint, 0 when there is none. The offset is only known at run time:
 * a load through a variable offset isn't allowed, and a switch over registers multiplies the verifier's states. */
static __always_inline __u64 argument(const struct context *c, __s16 at)
{
	__u64 value = 0;

	if (at >= 0)
		bpf_probe_read_kernel(&value, sizeof(value), c->ctx + at);
	return value;
}

static __always_inline void context_skb(struct context *c, __u64 address)
{
	struct sk_buff *skb = (void *)address;

	c->skb = NULL;
	if (!is_kernel_address(skb))
		return;
	c->skb = skb;
	c->skb_view = kview(skb, c->skb_copy);
	c->head = c->skb_view->head;
}

/* Look up what is known of the probe and count the hit; false: nothing is to be done. */
static __always_inline bool begin(struct context *c, __u32 probe_id)
{
	__u32 counter;

	if (!enabled)
		return false;
	c->cpu = bpf_get_smp_processor_id();
	counter = probe_id * cpus + c->cpu;
	c->probe_id = probe_id;
	c->probe = bpf_map_lookup_elem(&probes, &probe_id);
	c->counters = bpf_map_lookup_elem(&counters, &counter);
	if (!c->probe || !c->counters)
		return false;
	c->timestamp_ns = bpf_ktime_get_ns();
	count(&c->counters->hits);
	context_skb(c, argument(c, c->probe->skb_at));
	return true;
}
