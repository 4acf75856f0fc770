/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What every entry program fills before it calls the chain: the arguments, whatever the mechanism.
 */
#pragma once

#include "core/call.bpf.h"
#include "core/views.bpf.h"

struct context {
	void *ctx; /* the program's own context, or other memory that has the arguments */
	const struct probe *probe;
	struct counters *counters;
	__u64 timestamp_ns;
	__u32 probe_id;
	__u32 cpu;
	struct sk_buff *skb; /* its address; NULL: there is none to read */
	union {
		struct sk_buff *skb_view; /* what to read its members from; valid when skb is not NULL */
		struct xdp_buff *xdp;	  /* where is_frame(), and there is no skb */
	};
	unsigned char *head; /* skb->head, or where a frame's memory begins */
	/* The stack has no room for all of them at once: filters run before anything else needs the copy, and who
	 * needs a name calls view_skb_again(). */
	union {
		__u8 skb_copy[256];
		struct call call;
		struct packet_view packet;
		struct field_view fields;
		struct name name;
	};
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

/* What the function returned, as its type has it: what is above in the register is whatever was there. */
static __always_inline __u64 result(const struct context *c)
{
	__u64 value = argument(c, c->probe->result_at) << (c->probe->result_unused & 63);

	if (c->probe->result_signed)
		return (__s64)value >> (c->probe->result_unused & 63);
	return value >> (c->probe->result_unused & 63);
}

#define MOST_STEPS (int)(sizeof(((struct probe *)0)->skb_steps) / sizeof(((struct probe *)0)->skb_steps[0]))

/* Where some argument only leads to what is sought. */
const volatile bool skb_steps_on = false;
const volatile bool dev_steps_on = false;
const volatile bool net_steps_on = false;

static __always_inline void *follow_steps(void *from, const __s16 *steps)
{
	for (int i = 0; i < MOST_STEPS; i++) {
		if (steps[i] < 0)
			break;
		if (!is_kernel_address(from) || bpf_probe_read_kernel(&from, sizeof(from), from + steps[i]))
			return NULL;
	}
	return from;
}

static __always_inline void put_skb(struct context *c, struct sk_buff *skb)
{
	c->skb = NULL;
	if (!is_kernel_address(skb))
		return;
	c->skb = skb;
	c->skb_view = kview(skb, c->skb_copy);
	c->head = c->skb_view->head;
}

/* Nearly always the packet is the first argument, which costs a load where its place is known when compiling:
 * `first_at`, a constant, in the context of this mechanism; negative: not known. */
static __always_inline void context_skb(struct context *c, __s16 first_at)
{
	__s16 at = c->probe->skb_at;
	struct sk_buff *skb;

	if (first_at >= 0 && at == first_at)
		skb = *(void **)(c->ctx + first_at);
	else
		skb = (void *)argument(c, at);
	if (skb_steps_on)
		skb = follow_steps(skb, c->probe->skb_steps);
	put_skb(c, skb);
}

/* The copy of the skb gave its place on the stack to a filter. */
static __always_inline void view_skb_again(struct context *c)
{
	if (!direct_reads && c->skb)
		c->skb_view = kview(c->skb, c->skb_copy);
}

/* When the probe was hit, by the clock that is read when it is first asked for: most packets are of no interest. */
static __always_inline __u64 now(struct context *c)
{
	if (!c->timestamp_ns)
		c->timestamp_ns = bpf_ktime_get_ns();
	return c->timestamp_ns;
}

/* Look up what is known of the probe; false: nothing is to be done. */
static __always_inline bool look_up(struct context *c, __u32 probe_id)
{
	__u32 counter;

	if (!enabled)
		return false;
	c->cpu = bpf_get_smp_processor_id();
	counter = probe_id * cpus + c->cpu;
	c->probe_id = probe_id;
	c->probe = bpf_map_lookup_elem(&probes, &probe_id);
	c->counters = bpf_map_lookup_elem(&counters, &counter);
	return c->probe && c->counters;
}

/* ... count the hit and find the packet. */
static __always_inline bool begin(struct context *c, __u32 probe_id, __s16 first_at)
{
	if (!look_up(c, probe_id))
		return false;
	count(&c->counters->hits);
	context_skb(c, first_at);
	return true;
}
