/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A packet on its way through ovs-vswitchd and back: what the programs in the kernel's datapath and those in user
 * space tell each other. Every step is known by an address or a thread that can be nobody else's meanwhile:
 *
 *   upcall     the datapath makes a message of the packet                upcalls_queued, by the message's sk_buff
 *   receive    a handler thread takes that sk_buff off its socket        upcalls_received, by thread
 *   recv       ... and parses it (USDT dpif_recv:recv_upcall)            known to collectors/ovs/user.bpf.h
 *   operate    requests for flows and packets are made (USDT)            upcall_threads: those of packets, in order
 *   execute    the thread sends them; the kernel runs them one by one,   take_execute()
 *              in the same thread and order, each with a new sk_buff
 */
#pragma once

#include "core/call.bpf.h"

/* Of the packet that missed. */
struct upcall {
	struct packet_id packet; /* no time: it isn't followed */
	struct packet_id parent; /* as in struct tracked */
	__u64 skb;		 /* its address */
	__u64 timestamp_ns;	 /* of the upcall, at ovs_dp_upcall */
	__u32 cpu;		 /* ... and where it was */
	__u32 queue_id;		 /* the message's number, see next_queue_id(); 0: not known */
	__u64 sum; /* of what of its packet reaches user space as it is, see head_sum(); 0: not taken */
};

/* Messages that wait in a socket: sk_buff given to netlink_unicast() -> its upcall. Who puts one in takes it out when
 * it couldn't be sent. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, __u64);
	__type(value, struct upcall);
} upcalls_queued SEC(".maps");

/* bpf_get_current_pid_tgid() of a handler -> the message it has received and not parsed yet. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, __u64);
	__type(value, struct upcall);
} upcalls_received SEC(".maps");

/* A request to run actions on a packet that a thread has made and not sent yet. */
struct execute {
	struct upcall upcall; /* no queue_id: the packet is vswitchd's own, or its upcall wasn't seen */
	__u64 batch_ns;	      /* the batch of upcalls it came in, 0: none; see user.bpf.h */
	__u32 batch_index;
	__u32 bytes; /* the packet's length */
	__u64 sum;   /* of some of its bytes, see packet_sum() */
};

#define MOST_EXECUTES 64 /* dpif_netlink_operate_chunks() sends after OPERATE_MAX_OPS = 50 */
#define MOST_SKIPPED 8	 /* requests that the kernel refused before it looked at the packet */

/* What is known of a thread of vswitchd. */
struct upcall_thread {
	__u64 batch_ns;	   /* when the first upcall of the batch was parsed */
	__u32 batch_count; /* upcalls in it */
	__u32 operating;   /* requests were made since: the next upcall begins a new batch */
	__u32 received;	   /* upcalls so far */
	__u32 first, last; /* executes that wait: first to last - 1, both modulo MOST_EXECUTES */
	__u32 pad;
	struct execute executes[MOST_EXECUTES];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, __u64); /* bpf_get_current_pid_tgid() */
	__type(value, struct upcall_thread);
} upcall_threads SEC(".maps");

/* Messages of this CPU so far. Upcalls run with softirqs off, one at a time on a CPU. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} upcall_numbers SEC(".maps");

KEEP_TYPE(struct, upcall);
KEEP_TYPE(struct, upcall_thread);

/* Numbers for messages, different on all CPUs and never 0. */
static __always_inline __u32 next_queue_id(__u32 cpu)
{
	__u32 zero = 0, *n = bpf_map_lookup_elem(&upcall_numbers, &zero);

	return n ? (*n)++ * cpus + cpu + 1 : 0;
}

/* Bytes of a packet that differ between most packets of the same size and flow: an IP header behind Ethernet and the
 * first of what follows it, or what ARP has. */
#define SUM_AT 14
#define SUM_WORDS 4

struct sum_bytes {
	__u64 words[SUM_WORDS];
};

static __always_inline __u64 sum_of(const struct sum_bytes *bytes)
{
	__u64 sum = 0;

	for (int i = 0; i < SUM_WORDS; i++)
		sum = (sum ^ bytes->words[i]) * 0x9e3779b97f4a7c15ULL;
	return sum ^ (sum >> 32);
}

/* ... 0: it is too short. `at`: the first byte, in the kernel or (`user`, a constant) in the process.
 * A function of its own: its callers' frames are as large as Linux 6.1 allows. */
static __noinline __u64 packet_sum(const void *at, __u32 length, bool user)
{
	struct sum_bytes bytes = {};
	__u32 size = length - SUM_AT;

	if (length <= SUM_AT)
		return 0;
	if (size > sizeof(bytes))
		size = sizeof(bytes);
	size &= 63;
	barrier_var(size);
	if (size > sizeof(bytes))
		return 0;
	if (user ? bpf_probe_read_user(&bytes, size, at + SUM_AT)
		 : bpf_probe_read_kernel(&bytes, size, at + SUM_AT))
		return 0;
	return sum_of(&bytes);
}

/* The kernel completes checksums before it copies a packet for user space: of the bytes in front of those. */
#define UNCHANGED (SUM_AT + 24)

static __always_inline __u64 head_sum(const void *at, __u32 length, bool user)
{
	return packet_sum(at, length < UNCHANGED ? length : UNCHANGED, user);
}

/* At ovs_packet_cmd_execute(), in the thread that sent: take the request that this packet is of, NULL when none is
 * known. Those in front of it never came to be. The entry stays as it is until the thread makes its next request. */
static __always_inline struct execute *take_execute(__u32 length, __u64 sum)
{
	__u64 thread = bpf_get_current_pid_tgid();
	struct upcall_thread *t = bpf_map_lookup_elem(&upcall_threads, &thread);
	__u32 at;

	if (!t)
		return NULL;
	at = t->first;
	for (int i = 0; i < MOST_SKIPPED; i++, at++) {
		struct execute *e;

		if (at == t->last)
			break;
		e = &t->executes[at % MOST_EXECUTES];
		if (e->bytes == length && e->sum == sum) {
			t->first = at + 1;
			return e;
		}
	}
	return NULL;
}

/* After a request for a packet was made (`e`, not yet filled, is what is returned). */
static __always_inline struct execute *add_execute(struct upcall_thread *t)
{
	struct execute *e = &t->executes[t->last % MOST_EXECUTES];

	if (++t->last - t->first > MOST_EXECUTES)
		t->first = t->last - MOST_EXECUTES;
	return e;
}
