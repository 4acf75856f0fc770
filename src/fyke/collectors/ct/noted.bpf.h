/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A connection as the kernel has it; and those whose beginning and end are of interest.
 */
#pragma once

#include "core/context.bpf.h"

#define NFCT_INFOMASK 7UL /* include/linux/skbuff.h */

struct nf_conntrack_zone {
	__u16 id;
	__u8 flags;
	__u8 dir;
} __kernel_struct;

union nf_inet_addr {
	__u32 all[4];
};

union nf_conntrack_man_proto {
	__be16 all;
};

struct nf_conntrack_man {
	union nf_inet_addr u3;
	union nf_conntrack_man_proto u;
	__u16 l3num;
} __kernel_struct;

struct nf_conntrack_tuple {
	struct nf_conntrack_man src;
	struct {
		union nf_inet_addr u3;
		union {
			__be16 all;
		} u;
		__u8 protonum;
	} dst;
} __kernel_struct;

struct nf_conntrack_tuple_hash {
	struct nf_conntrack_tuple tuple;
} __kernel_struct;

struct nf_ct_ext {
	__u8 offset[9]; /* from its own beginning, by enum nf_ct_ext_id */
} __kernel_struct;

enum nf_ct_ext_id {
	NF_CT_EXT_LABELS = 7,
};

struct ip_ct_tcp {
	__u8 state;
} __kernel_struct;

enum sctp_conntrack {
	SCTP_CONNTRACK_NONE,
};

struct ip_ct_sctp {
	enum sctp_conntrack state;
	__be32 vtag[2];
} __kernel_struct;

union nf_conntrack_proto {
	struct ip_ct_tcp tcp;
	struct ip_ct_sctp sctp;
} __kernel_struct;

struct nf_conn {
	__u32 timeout;
	struct nf_conntrack_zone zone;
	struct nf_conntrack_tuple_hash tuplehash[2];
	unsigned long status;
	struct nf_conn *master;
	__u32 mark;
	struct nf_ct_ext *ext;
	union nf_conntrack_proto proto;
	possible_net_t ct_net;
} __kernel_struct;

/* A member of a connection, from the copy of its first bytes where they hold it. The copy, as a load through
 * bpf_rdonly_cast() would need a type of the kernel itself, and where conntrack is a module it may be the module's. */
#define conn_read(conn, copy, member)                                                                        \
	({                                                                                                   \
		typeof((conn)->member) __value;                                                              \
		if (bpf_core_field_offset(struct nf_conn, member) + sizeof(__value) <= sizeof(copy))         \
			__value = ((struct nf_conn *)(copy))->member;                                        \
		else                                                                                         \
			bpf_probe_read_kernel(&__value, sizeof(__value), &(conn)->member);                   \
		__value;                                                                                     \
	})

/* Connections whose beginning and end are of interest, where filters say which are: those of packets that passed. */
#define NOTED_WORDS 5

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1);
	__type(key, __u64);		   /* its address, which the next one may have */
	__type(value, __u64[NOTED_WORDS]); /* so also its tuple in the original direction */
} connections SEC(".maps");

const volatile bool note_connections = false;

static __always_inline bool noted_tuple(struct nf_conn *conn, __u64 *words)
{
	return !bpf_probe_read_kernel(words, NOTED_WORDS * sizeof(*words), &conn->tuplehash[0].tuple);
}

static __noinline bool is_noted(__u64 conn, const __u64 *words)
{
	__u64 *noted = bpf_map_lookup_elem(&connections, &conn);

	return noted && words[0] == noted[0] && words[1] == noted[1] && words[2] == noted[2] &&
	       words[3] == noted[3] && words[4] == noted[4];
}

static __always_inline void note_connection(struct nf_conn *conn)
{
	__u64 key = (__u64)conn, words[NOTED_WORDS];

	if (note_connections && noted_tuple(conn, words) && !is_noted(key, words))
		bpf_map_update_elem(&connections, &key, words, BPF_ANY);
}

/* The packet that a connection begins with passed the filters. */
static __always_inline void note_new_connection(struct context *c)
{
	struct sk_buff *skb = c->skb;
	struct nf_conn *conn;

	if (!note_connections || !(c->probe->flags & PROBE_CONNECTS) || !skb ||
	    !bpf_core_field_exists(skb->_nfct))
		return;
	conn = (void *)(kread(skb, _nfct) & ~NFCT_INFOMASK);
	if (is_kernel_address(conn))
		note_connection(conn);
}
