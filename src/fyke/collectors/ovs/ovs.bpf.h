/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A packet in Open vSwitch's datapath: the flow that it hit, its upcall, the actions that are run on it. The types are
 * the module's, whose BTF bpf_rdonly_cast() doesn't know: all is read by copying.
 */
#pragma once

#include <linux/netlink.h>
#include "collectors/ovs/types.bpf.h"
#include "core/upcalls.bpf.h"

enum ovs_upcall_event {
	OVS_UPCALL,
	OVS_UPCALL_ENQUEUE,
	OVS_UPCALL_RETURN,
};

struct section_ovs_upcall {
	__u64 upcall_ns; /* which upcall: when it began, and where */
	__u32 upcall_cpu;
	__u32 portid;	/* of the netlink socket that gets it */
	__u32 queue_id; /* of the message, 0: none was sent */
	__s32 ret;
	__u8 event; /* enum ovs_upcall_event */
	__u8 cmd;   /* enum ovs_packet_cmd; none at the return */
	__u8 pad[6];
};

struct ovs_ufid {
	__u32 parts[4];
};

struct section_ovs_lookup {
	__u64 flow; /* its address, 0: none matched */
	__u64 sf_acts;
	struct ovs_ufid ufid;
	__u32 n_mask_hit;
	__u32 n_cache_hit;
};

/* In ovs-vswitchd. */
struct section_ovs_recv {
	__u64 batch_ns;
	__u64 key_size;
	__u32 queue_id;
	__u32 type;
	__u32 pkt_size;
	__u8 batch_index;
	__u8 pad[3];
};

enum ovs_operation {
	OVS_PUT,
	OVS_EXEC,
};

struct section_ovs_operation {
	__u64 batch_ns;
	__u32 queue_id;
	__u8 op_type; /* enum ovs_operation */
	__u8 batch_index;
	__u16 candidates; /* equal packets of the batch, if the request is for one of several */
};

KEEP_TYPE(struct, section_ovs_recv);
KEEP_TYPE(struct, section_ovs_operation);
KEEP_TYPE(struct, section_ovs_upcall);
KEEP_TYPE(struct, section_ovs_lookup);

/* There is no such thing. */
#define OVS_NONE 0xffffffff
#define OVS_NO_RESULT 0x7fffffff
#define OVS_NO_COMMAND 0xff

/* The packet that this CPU looks a flow up for, and the upcall that goes on here: both run with softirqs off. Where
 * those can be preempted (PREEMPT_RT) the task tells whose it is. */
struct ovs_cpu {
	__u64 lookup_task;
	__u64 lookup_skb;
	__u64 upcall_task;	/* 0: no upcall goes on */
	__u64 message;		/* the sk_buff that was given to netlink_unicast() */
	struct upcall upcall;	/* ... as of its current message */
	struct packet_id whole; /* what missed: GSO may have made many messages' packets of it */
	struct packet_id whole_parent;
	__u32 portid;
	__u8 cmd;
	__u8 pad[3];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct ovs_cpu);
} ovs_cpus SEC(".maps");

/* Are packets followed through user space? */
const volatile bool ovs_track = false;

/* Functions of their own, here and below: callers have no room on the stack. */
static __noinline struct ovs_cpu *ovs_here(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&ovs_cpus, &zero);
}

static __always_inline struct ovs_cpu *upcall_here(void)
{
	struct ovs_cpu *here = ovs_here();

	return here && here->upcall_task && here->upcall_task == bpf_get_current_task() ? here : NULL;
}

/* The packet at the return of a function of the datapath's, or where a flow is looked up. */
static __always_inline void ovs_skb(struct context *c)
{
	struct ovs_cpu *here;

	if (!(c->probe->flags & PROBE_OVS_LOOKUP)) {
		context_skb(c, -1);
		return;
	}
	here = ovs_here();
	put_skb(c, here && here->lookup_task == bpf_get_current_task() ? (void *)here->lookup_skb : NULL);
}

static __always_inline void begin_upcall(struct context *c, const struct tracked *t, struct ovs_cpu *here)
{
	struct dp_upcall_info *info = (void *)argument(c, c->probe->ovs_info_at);

	__builtin_memset(&here->upcall, 0, sizeof(here->upcall));
	if (t) {
		here->upcall.packet = t->id;
		here->upcall.parent = t->parent;
	}
	here->whole = here->upcall.packet;
	here->whole_parent = here->upcall.parent;
	here->upcall.skb = (__u64)c->skb;
	here->upcall.timestamp_ns = now(c);
	here->upcall.cpu = c->cpu;
	here->message = 0;
	here->portid = ovs_read(info, portid);
	here->cmd = ovs_read(info, cmd);
	here->upcall_task = bpf_get_current_task();
}

/* The message couldn't be sent: nobody will receive it. */
static __always_inline void forget_message(struct ovs_cpu *here)
{
	if (ovs_track && here->message)
		bpf_map_delete_elem(&upcalls_queued, &here->message);
}

/* `at_return`, a constant: no upcall begins there. */
static __always_inline bool collect_ovs_upcall(struct context *c, const struct tracked *t, bool at_return,
					       struct section_ovs_upcall *s)
{
	__u32 flags = at_return ? c->probe->flags & ~PROBE_OVS_UPCALL : c->probe->flags;
	struct ovs_cpu *here;

	if (flags & PROBE_OVS_UPCALL) {
		here = ovs_here();
		if (!here)
			return false;
		begin_upcall(c, t, here);
	} else {
		here = upcall_here();
		if (!here)
			return false; /* it wasn't seen, or filtered out */
	}
	s->upcall_ns = 0;
	s->upcall_cpu = here->upcall.cpu;
	s->portid = here->portid;
	s->queue_id = OVS_NONE;
	s->cmd = here->cmd;
	s->ret = OVS_NO_RESULT;
	s->event = OVS_UPCALL;
	if (flags & PROBE_OVS_UPCALL)
		return true;
	s->upcall_ns = here->upcall.timestamp_ns;
	s->ret = argument(c, c->probe->result_at);
	if (flags & PROBE_OVS_ENQUEUE) {
		s->event = OVS_UPCALL_ENQUEUE;
		s->queue_id = here->upcall.queue_id;
		return true;
	}
	s->event = OVS_UPCALL_RETURN;
	s->portid = OVS_NONE;
	s->cmd = OVS_NO_COMMAND;
	return true;
}

/* After the event of a return. */
static __noinline void end_upcall(struct context *c)
{
	__u32 flags = c->probe->flags;
	struct ovs_cpu *here;

	if (!(flags & (PROBE_OVS_ENQUEUE | PROBE_OVS_RETURN)))
		return;
	here = upcall_here();
	if (!here)
		return;
	if (flags & PROBE_OVS_RETURN) {
		here->upcall_task = 0;
		return;
	}
	if ((int)argument(c, c->probe->result_at))
		forget_message(here);
	here->message = 0;
	here->upcall.queue_id = 0;
}

static __always_inline bool collect_ovs_lookup(struct context *c, struct section_ovs_lookup *s)
{
	struct sw_flow *flow = (void *)argument(c, c->probe->result_at);
	__u32 *masks = (void *)argument(c, c->probe->other_at);
	__u32 *caches = (void *)argument(c, c->probe->other_at + (__s16)sizeof(__u64));

	if (!(c->probe->flags & PROBE_OVS_LOOKUP))
		return false;
	__builtin_memset(s, 0, sizeof(*s));
	bpf_probe_read_kernel(&s->n_mask_hit, sizeof(s->n_mask_hit), masks);
	bpf_probe_read_kernel(&s->n_cache_hit, sizeof(s->n_cache_hit), caches);
	if (!is_kernel_address(flow))
		return true;
	s->flow = (__u64)flow;
	s->sf_acts = (__u64)ovs_read(flow, sf_acts);
	bpf_probe_read_kernel(&s->ufid, sizeof(s->ufid), &flow->id.ufid);
	return true;
}
