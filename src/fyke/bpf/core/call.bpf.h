/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What is kept of a call of interest from its entry to its return.
 */
#pragma once

#include "core/probe.bpf.h"

#define CALL_REGISTERS 6 /* arguments that are in registers on every machine */
#define CALL_LEVELS                                                                                          \
	4 /* calls of one function that a task may be in at a time: it may be interrupted, or recur */

struct packet_id {
	__u64 timestamp_ns;
	__u64 orig_head;
};

/* No larger: copies of it are on the stack, of which Linux 6.1 has no more to give. */
struct tracked {
	struct packet_id id;
	struct packet_id parent;
	__u64 last_seen_ns;
	__u64 fingerprint; /* 0: not taken */
	__u16 network_at;  /* where the fingerprint was taken, from skb->head */
	__u16 frame;	   /* of one last seen by XDP: the first such probe that saw it, counted from 1 */
	__u32 queue_id;	   /* of the message to user space that the packet comes back from; 0: of none */
};

struct call {
	__u64 arguments[CALL_REGISTERS + 1]; /* of kretprobes; the last is the return value */
	__u64 frame;			     /* tells calls of a task apart: an address on its stack */
	__u64 head;			     /* skb->head, as it was */
	struct tracked packet;		     /* which packet it was; no id: it isn't followed (yet) */
	/* Set at the return */
	__u64 skb;
	__u64 there;   /* all bits set: the packet is still there, 0: it is gone */
	__u64 present; /* sections, as in struct record */
};

struct call_key {
	__u64 task;
	__u32 probe;
	__u32 level;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct call_key);
	__type(value, struct call);
} calls SEC(".maps");

KEEP_TYPE(struct, tracked);
KEEP_TYPE(struct, call);
KEEP_TYPE(struct, call_key);
