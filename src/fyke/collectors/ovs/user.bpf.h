/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A packet in ovs-vswitchd: from the socket to the requests that are made of it, by USDT probes of that program. The steps
 * and what they are known by: core/upcalls.bpf.h. Between parsing and requests it is the address of the packet's bytes, in
 * the thread's own buffers; of a flow's key a copy is requested, which is known by what is in it.
 */
#pragma once

#include "collectors/ovs/ovs.bpf.h"
#include "collectors/skb_tracking/skb_tracking.bpf.h"
#include "core/user.bpf.h"

/* UPCALL_MAX_BATCH in Open vSwitch's ofproto-dpif-upcall.c: so many are received before what they lead to is requested,
 * but for what translating one of them requests at once. */
#define MOST_UPCALLS 64

/* What a thread has parsed: by address of the packet's bytes, and by what is in the flow's key (KEY_SUM). An address is
 * another packet's later: what is that old, by number of upcalls, is no more. */
struct parsed_key {
	__u64 thread;
	__u64 what;
};

#define KEY_SUM (1ULL << 63) /* no address in a process has it */
#define PACKET_SUM (KEY_SUM | 1ULL << 62)

struct parsed {
	struct upcall upcall;
	__u64 batch_ns;
	__u32 batch_index;
	__u32 number;	  /* which of the thread's upcalls */
	__u32 candidates; /* of its batch, packets that are equal to this one; with it */
	__u32 operation;  /* enum ovs_operation, of a request */
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1);
	__type(key, struct parsed_key);
	__type(value, struct parsed);
} upcalls_parsed SEC(".maps");

/* A thread of which nothing is known: too large for a program's stack. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct upcall_thread);
} upcall_no_thread SEC(".maps");

static __always_inline struct upcall_thread *upcall_thread_of(__u64 thread)
{
	struct upcall_thread *t = bpf_map_lookup_elem(&upcall_threads, &thread);
	__u32 zero = 0;

	if (t)
		return t;
	t = bpf_map_lookup_elem(&upcall_no_thread, &zero);
	if (!t || bpf_map_update_elem(&upcall_threads, &thread, t, BPF_ANY))
		return NULL;
	return bpf_map_lookup_elem(&upcall_threads, &thread);
}

/* ---- receive */

/* Any message is taken off any socket: of an upcall, if a handler does it. */
static __always_inline void note_received(const struct context *c)
{
	__u64 skb = argument(c, c->probe->other_at), thread = bpf_get_current_pid_tgid();
	struct upcall *queued = bpf_map_lookup_elem(&upcalls_queued, &skb);

	if (!queued) {
		/* What this thread received last is over. */
		if (bpf_map_lookup_elem(&upcalls_received, &thread))
			bpf_map_delete_elem(&upcalls_received, &thread);
		return;
	}
	if (bpf_map_update_elem(&upcalls_received, &thread, queued, BPF_ANY))
		count(&c->counters->tracking_full);
	bpf_map_delete_elem(&upcalls_queued, &skb);
}

/* ---- what is in a flow's key */

#define SUM_CHUNK 32
#define SUM_CHUNKS 16 /* of longer keys, the length and the first 512 bytes tell */

struct key_chunk {
	__u64 words[SUM_CHUNK / sizeof(__u64)];
};

/* A function that any could call is looked at by the verifier once, not where it is called. 0: it couldn't be read. */
__noinline __u64 key_sum(__u64 at, __u64 length)
{
	__u64 sum = length, rest = length;

	for (int i = 0; i < SUM_CHUNKS && rest; i++) {
		struct key_chunk chunk = {};
		__u32 size = rest < SUM_CHUNK ? rest : SUM_CHUNK;

		size &= 63;
		barrier_var(size);
		if (size > SUM_CHUNK || bpf_probe_read_user(&chunk, size, (void *)at))
			return 0;
#pragma unroll
		for (int word = 0; word < (int)(SUM_CHUNK / sizeof(__u64)); word++) {
			sum = (sum ^ chunk.words[word]) * 0x9e3779b97f4a7c15ULL;
			sum ^= sum >> 29;
		}
		at += size;
		rest -= size;
	}
	return (sum & ~PACKET_SUM) | KEY_SUM;
}

/* ---- what a thread of vswitchd does */

static __always_inline __u64 user_value(const struct context *c, const struct user_place *place, int n)
{
	__u64 value = 0;

	user_argument(c->ctx, &place->arguments[n], &value);
	return value;
}

static __always_inline void start_batch(struct context *c, struct upcall_thread *t)
{
	if (t->batch_count && !t->operating && t->batch_count < MOST_UPCALLS)
		return;
	t->batch_ns = now(c);
	t->batch_count = 0;
	t->operating = 0;
	t->first = t->last;
}

/* Count the packets of a batch that are equal. */
static __always_inline void count_equal(__u64 thread, __u64 sum, struct parsed *p)
{
	struct parsed_key key = { .thread = thread, .what = sum | PACKET_SUM };
	struct parsed *equal = bpf_map_lookup_elem(&upcalls_parsed, &key);

	if (equal && equal->batch_ns == p->batch_ns)
		equal->candidates++;
	else
		bpf_map_update_elem(&upcalls_parsed, &key, p, BPF_ANY);
}

/* ... 0: the packet is like no other. */
static __always_inline __u32 candidates_of(__u64 thread, __u64 sum, const struct parsed *p)
{
	struct parsed_key key = { .thread = thread, .what = sum | PACKET_SUM };
	struct parsed *equal = bpf_map_lookup_elem(&upcalls_parsed, &key);

	return equal && equal->batch_ns == p->batch_ns && equal->candidates > 1 ? equal->candidates : 0;
}

#define TYPE_MISS 0 /* DPIF_UC_MISS: of others no flow is made */

/* dpif_recv:recv_upcall(name, type, packet, packet size, key, key size). At a function in place of it there is one more:
 * where in its memory the packet begins. */
static __always_inline void parse_upcall(struct context *c, const struct user_place *place, struct parsed *p)
{
	__u64 thread = bpf_get_current_pid_tgid();
	struct parsed_key key = { .thread = thread };
	struct upcall_thread *t = upcall_thread_of(thread);
	struct upcall *received = bpf_map_lookup_elem(&upcalls_received, &thread);
	__u64 packet = user_value(c, place, 2) + user_value(c, place, 6);
	__u32 bytes = user_value(c, place, 3);
	struct parsed *old;

	if (received) {
		/* Where a reception was missed and the sk_buff's memory is another message's, which was missed too, it would
		 * be another packet's. */
		if (!received->sum || received->sum == head_sum((void *)packet, bytes, true))
			p->upcall = *received;
		bpf_map_delete_elem(&upcalls_received, &thread);
	}
	if (!t) {
		count(&c->counters->tracking_full);
		return;
	}
	start_batch(c, t);
	p->batch_ns = t->batch_ns;
	p->batch_index = t->batch_count++;
	p->number = ++t->received;
	p->candidates = 1;
	count_equal(thread, packet_sum((void *)packet, bytes, true), p);
	key.what = packet;
	bpf_map_update_elem(&upcalls_parsed, &key, p, BPF_ANY);
	if ((__u32)user_value(c, place, 1) != TYPE_MISS)
		return;
	key.what = key_sum(user_value(c, place, 4), user_value(c, place, 5));
	if (!key.what)
		return;
	/* Of equal keys the first is made a flow of. */
	old = bpf_map_lookup_elem(&upcalls_parsed, &key);
	if (!old || p->number - old->number >= MOST_UPCALLS)
		bpf_map_update_elem(&upcalls_parsed, &key, p, BPF_ANY);
}

/* Take what was parsed: each upcall leads to one flow and one packet at most. */
static __always_inline void take_parsed(const struct upcall_thread *t, __u64 thread, __u64 what,
					struct parsed *p)
{
	struct parsed_key key = { .thread = thread, .what = what };
	struct parsed *found = bpf_map_lookup_elem(&upcalls_parsed, &key);

	if (!found)
		return;
	if (t->received - found->number < MOST_UPCALLS)
		*p = *found;
	bpf_map_delete_elem(&upcalls_parsed, &key);
}

/* Of struct dpif_flow_put: the flow's key, and its length. Unchanged since Open vSwitch 2.1. */
#define FLOW_PUT_KEY 8
#define FLOW_PUT_KEY_LENGTH 16

/* dpif_netlink_operate__:op_flow_put(dpif, struct dpif_flow_put, flow, request): a flow is requested for a key. `at`: of
 * the key's address and length, in the process. */
static __always_inline void put_operation(struct context *c, __u64 key_at, __u64 length_at, struct parsed *p)
{
	__u64 thread = bpf_get_current_pid_tgid(), key = 0, length = 0, sum;
	struct upcall_thread *t = bpf_map_lookup_elem(&upcall_threads, &thread);

	p->operation = OVS_PUT;
	if (!t)
		return; /* not one that handles upcalls */
	t->operating = 1;
	if (bpf_probe_read_user(&key, sizeof(key), (void *)key_at) ||
	    bpf_probe_read_user(&length, sizeof(length), (void *)length_at))
		return;
	sum = key_sum(key, length);
	if (sum)
		take_parsed(t, thread, sum, p);
	p->operation = OVS_PUT;
	p->candidates = 0; /* of equal ones it is the first */
}

/* dpif_netlink_operate__:op_flow_execute(dpif, struct dpif_execute, packet, packet size, request) */
static __always_inline void execute_operation(struct context *c, __u64 packet, __u32 bytes, struct parsed *p)
{
	__u64 thread = bpf_get_current_pid_tgid();
	struct upcall_thread *t = upcall_thread_of(thread);
	struct execute *e;

	p->operation = OVS_EXEC;
	if (!t) {
		count(&c->counters->tracking_full);
		return;
	}
	t->operating = 1;
	take_parsed(t, thread, packet, p);
	e = add_execute(t);
	e->upcall = p->upcall;
	e->batch_ns = p->batch_ns;
	e->batch_index = p->batch_index;
	e->bytes = bytes;
	e->sum = packet_sum((void *)packet, bytes, true);
	p->operation = OVS_EXEC;
	p->candidates = p->upcall.queue_id ? candidates_of(thread, e->sum, p) : 0;
}

/* The arguments of dpif_netlink_operate(), which is given all requests at once: an array of pointers to struct dpif_op,
 * how many; then numbers that the program's debug information tells. */
enum {
	OPS,
	OPS_COUNT,
	OP_IS_PUT,
	OP_IS_EXECUTE,
	OP_TYPE_AT,
	OP_KEY_AT,
	OP_KEY_LENGTH_AT,
	OP_PACKET_AT,
	PACKET_BASE_AT,
	PACKET_DATA_AT,
	PACKET_SIZE_AT,
};

static __always_inline __u64 user_number(const struct user_place *place, int n)
{
	return place->arguments[n].add;
}

/* Look at one of the requests; false: it is of another kind, or couldn't be read. */
static __always_inline bool any_operation(struct context *c, const struct user_place *place, __u64 op,
					  struct parsed *p)
{
	__u64 packet = 0, base = 0;
	__u32 type = 0, bytes = 0;
	__u16 data = 0;

	if (bpf_probe_read_user(&type, sizeof(type), (void *)op + user_number(place, OP_TYPE_AT)))
		return false;
	if (type == user_number(place, OP_IS_PUT)) {
		put_operation(c, op + user_number(place, OP_KEY_AT),
			      op + user_number(place, OP_KEY_LENGTH_AT), p);
		return true;
	}
	if (type != user_number(place, OP_IS_EXECUTE) ||
	    bpf_probe_read_user(&packet, sizeof(packet), (void *)op + user_number(place, OP_PACKET_AT)) ||
	    bpf_probe_read_user(&base, sizeof(base), (void *)packet + user_number(place, PACKET_BASE_AT)) ||
	    bpf_probe_read_user(&data, sizeof(data), (void *)packet + user_number(place, PACKET_DATA_AT)) ||
	    bpf_probe_read_user(&bytes, sizeof(bytes), (void *)packet + user_number(place, PACKET_SIZE_AT)))
		return false;
	execute_operation(c, base + data, bytes, p);
	return true;
}

/* ---- events */

static __always_inline bool collect_ovs_recv(struct context *c, const struct user_place *place,
					     const struct parsed *p, struct section_ovs_recv *s)
{
	if (!(c->probe->flags & PROBE_OVS_RECV))
		return false;
	s->queue_id = p->upcall.queue_id;
	s->type = user_value(c, place, 1);
	s->pkt_size = user_value(c, place, 3);
	s->key_size = user_value(c, place, 5);
	s->batch_ns = p->batch_ns;
	s->batch_index = p->batch_index;
	return true;
}

static __always_inline bool collect_ovs_operation(struct context *c, const struct parsed *p,
						  struct section_ovs_operation *s)
{
	if (c->probe->flags & PROBE_OVS_RECV)
		return false;
	s->op_type = p->operation;
	s->queue_id = p->upcall.queue_id;
	s->batch_ns = p->upcall.queue_id ? p->batch_ns : 0;
	s->batch_index = p->batch_index;
	s->candidates = p->candidates;
	return true;
}

/* The packet that missed, so that the event is in its journey. */
static __always_inline bool put_missed_packet(const struct upcall *upcall, struct section_skb_tracking *s)
{
	if (!upcall->packet.timestamp_ns)
		return false;
	s->orig_head = upcall->packet.orig_head;
	s->timestamp_ns = upcall->packet.timestamp_ns;
	s->skb = upcall->skb;
	s->parent_orig_head = upcall->parent.orig_head;
	s->parent_timestamp_ns = upcall->parent.timestamp_ns;
	return true;
}
