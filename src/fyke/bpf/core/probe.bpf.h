/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a program knows of the probe it runs at, and what it counts there.
 */
#pragma once

#include "core/record.bpf.h"

enum probe_flags {
	PROBE_STACK = 1 << 0,	       /* take a stack trace */
	PROBE_FREE = 1 << 1,	       /* the skb's data is freed here: forget the packet */
	PROBE_FREE_SHARED = 1 << 2,    /* the same, but only if nobody else holds the data */
	PROBE_FREE_IF_STOLEN = 1 << 3, /* the same, if the second argument says that the head was stolen */
	PROBE_EXPAND = 1 << 4,	       /* the skb's data moves to new memory here */
	PROBE_RELEASE =
		1 << 5, /* a reference to the data is dropped here; the skb may live on with other data */
	PROBE_CREATED = 1 << 6,	  /* a connection enters conntrack's table here */
	PROBE_DESTROYED = 1 << 7, /* ... and leaves it here */
	PROBE_CONNECTS = 1 << 8,  /* the packet's connection is about to enter it */
	PROBE_LOOK = 1 << 9,	/* the same as PROBE_STACK for user space alone, which wants to know the ways
				     here of packets that are followed, also without an event */
	PROBE_COPY = 1 << 10,	/* the skb that an argument points to may be replaced by a copy of it */
	PROBE_FRAMES = 1 << 11, /* packets are as XDP has them */
	/* Of Open vSwitch, see bpf/probes/ovs.bpf.h */
	PROBE_OVS_UPCALL = 1 << 16,  /* a packet misses, or an action sends it to user space */
	PROBE_OVS_ENQUEUE = 1 << 17, /* the return of what sends a message of it there */
	PROBE_OVS_RETURN = 1 << 18,  /* ... and of the whole */
	PROBE_OVS_LOOKUP =
		1 << 19, /* the return of what looks a flow up, the packet is no argument of which */
	PROBE_OVS_PROCESS = 1 << 20,  /* ... which comes next, for this packet */
	PROBE_OVS_MESSAGE = 1 << 21,  /* a message is sent, of an upcall perhaps */
	PROBE_OVS_EXECUTE = 1 << 22,  /* a packet was made of what user space sent, to run actions on it */
	PROBE_OVS_ACTION = 1 << 23,   /* an action is about to be run */
	PROBE_OVS_RECEIVED = 1 << 24, /* a message is copied to whoever reads the socket */
	PROBE_OVS_RECV = 1 << 25,     /* vswitchd has parsed an upcall */
	PROBE_OVS_PUT = 1 << 26,      /* ... has made a request for a flow */
	PROBE_OVS_EXEC = 1 << 27,     /* ... and one for actions on a packet */
};

#define ROOT_SKB -2 /* the packet, which no argument is */

/* Arguments are byte offsets into the program's context; negative: the probe has no such argument. */
struct probe {
	__u32 sections; /* the sections to collect here: 1 << section_id */
	__u32 flags;
	__s16 skb_at;
	__s16 dev_at;
	__s16 net_at;
	__s16 reason_at;
	__s16 other_at;	 /* of PROBE_FREE_IF_STOLEN, the packet merged into, and the connection */
	__s16 result_at; /* of returns: the return value */
	__s16 nft_info_at;
	__s16 nft_verdict_at;
	__s16 nft_rule_at;
	__s16 nft_chain_at;
	__s16 nft_type_at;
	__s16 ovs_info_at;
	__s16 ovs_dp_at;
	__s16 ovs_key_at;
	__s16 ovs_attr_at;
	__s16 skb_steps[3]; /* from what is at skb_at to the packet: offsets of pointers; negative: no more */
	__s16 dev_steps[3]; /* ... at dev_at to the device */
	__s16 net_steps[3]; /* ... at net_at to the namespace */
	__s16 root_at[6];   /* what the field filter starts from, or ROOT_SKB */
	__u8 result_unused; /* how many of the upper bits of the returned value aren't its own */
	__u8 result_signed;
};

/* One a probe and CPU, each on a cache line of its own. Written by that CPU; read through mmap. */
struct counters {
	__u64 hits;	     /* the program ran, after the collection was enabled */
	__u64 recorded;	     /* of these: an event was sent */
	__u64 ring_full;     /* events lost: no room in the CPU's ring. The other hits were of no interest */
	__u64 tracking_full; /* ids lost: no room in the tracking map */
	__u64 stack_full;    /* stacks lost: no room in the stack map */
	__u64 unreadable;    /* packets not matched: what the filter looks at isn't in the linear area */
	__u64 no_link_layer; /* packets not matched: the filter looks at a link-layer header, they have none */
	__u64 missed_return; /* events lost: a call of interest whose return wasn't seen */
} __attribute__((aligned(64)));

const volatile __u32 cpus = 1;

bool enabled = false; /* set when every probe is attached, so that no journey starts in the middle */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1); /* number of probes */
	__type(key, __u32);
	__type(value, struct probe);
} probes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1); /* number of probes * cpus */
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct counters);
} counters SEC(".maps");

KEEP_TYPE(enum, probe_flags);

/* Programs that the kernel gives no attach cookie are loaded once a probe, with this number replaced. */
#define PROBE_ID_MARK 0x5ca1ab1e

static __always_inline __u32 marked_probe_id(void)
{
	__u32 id;

	asm volatile("%[id] = 0x5ca1ab1e" : [id] "=r"(id));
	return id;
}

/* Programs of a probe's own, where nothing is collected, have a 0 here: the verifier then leaves out what collects. */
#define COLLECT_MARK 0x0c011ec7

static __always_inline bool may_collect(void)
{
	__u32 yes;

	asm volatile("%[yes] = 0x0c011ec7" : [yes] "=r"(yes));
	return yes;
}

/* Programs of a probe's own have the sections that are collected there in place of this, all of them: the verifier then
 * leaves out the others. Nothing else in here has this value. */
#define SECTIONS_MARK 0x5fffffff

static __always_inline __u32 own_sections(void)
{
	__u32 sections;

	asm volatile("%[sections] = 0x5fffffff" : [sections] "=r"(sections));
	return sections;
}

static __always_inline void count(__u64 *counter)
{
	/* Another program of ours may interrupt this one on the same CPU: a plain increment could lose counts. */
	__sync_fetch_and_add(counter, 1);
}
