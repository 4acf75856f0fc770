/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Which connection does conntrack take the packet for, and in which state is it?
 */
#pragma once

#include <bpf/bpf_endian.h>

#include "collectors/ct/noted.bpf.h"

/* Of the UAPI, or as include/linux/skbuff.h has it since v2.6. */
#define IP_CT_UNTRACKED 7
#define UNKNOWN 0xffffffffU
#define IPS_CONFIRMED (1UL << 3)
#define IPS_TEMPLATE (1UL << 11)
#define CT_TCP 6
#define CT_ICMP 1
#define CT_UDP 17
#define CT_DCCP 33
#define CT_GRE 47
#define CT_ICMPV6 58
#define CT_SCTP 132
#define CT_UDPLITE 136

/* The family is part of it, so that the bytes alone say which address it is. */
struct ct_address {
	__u32 family; /* NFPROTO_*: 2 is IPv4, 10 is IPv6 */
	__u32 words[4];
};

/* What stands for ports; -1: the protocol has no such thing. */
struct ct_ends {
	__s32 sport; /* of GRE: the key */
	__s32 dport;
	__s32 icmp_id;
	__s16 icmp_type;
	__s16 icmp_code;
};

/* -1, or all bits set: it is not known of this packet, or not in this kernel. */
struct section_ct {
	struct ct_address orig_src;
	struct ct_address orig_dst;
	struct ct_address reply_src;
	struct ct_address reply_dst;
	struct ct_ends orig;
	struct ct_ends reply;
	__s64 mark;
	__s64 orig_vtag; /* of SCTP */
	__s64 reply_vtag;
	__u64 labels_low;
	__u64 labels_high;
	__s32 zone_id;
	__u32 status;	   /* enum ip_conntrack_status */
	__u32 timeout_ms;  /* until the connection is forgotten */
	__s16 protocol;	   /* IPPROTO_* */
	__u16 proto_state; /* protocol << 8 | enum tcp_conntrack or sctp_conntrack; 0: it has none */
	__u8 zone_dir;	   /* bit 0: original, bit 1: reply; 255: it has none */
	__u8 state;	   /* enum ip_conntrack_info; 255: there is no packet */
	__u8 pad[6];
};

struct section_ct_parent {
	struct section_ct ct;
};

KEEP_TYPE(struct, section_ct);
KEEP_TYPE(struct, section_ct_parent);

const volatile __u32 tick_ns = 4000000; /* of jiffies */

static __always_inline void put_address(struct ct_address *a, __u32 family, const union nf_inet_addr *from)
{
	a->family = family;
	a->words[0] = from->all[0];
	a->words[1] = from->all[1];
	a->words[2] = from->all[2];
	a->words[3] = from->all[3];
}

/* Without branches: the verifier follows each way through one, and what comes after it again for each. */
static __always_inline __u32 equal(__u32 one, __u32 other)
{
	return ((one ^ other) - 1) >> 31;
}

/* `value`, or -1 where `there` is 0. */
static __always_inline __s32 if_there(__u32 there, __u32 value)
{
	return (value & -there) | (there - 1);
}

#define WITH_PORTS (1ULL << CT_TCP | 1ULL << CT_UDP | 1ULL << CT_DCCP | 1ULL << CT_GRE)

static __always_inline void put_ends(struct ct_ends *ends, __u32 protocol, __be16 from, __be16 to)
{
	__u32 icmp = equal(protocol, CT_ICMP) | equal(protocol, CT_ICMPV6);
	__u32 ports = (WITH_PORTS >> (protocol & 63) & equal(protocol >> 6, 0)) | equal(protocol, CT_SCTP) |
		      equal(protocol, CT_UDPLITE);
	__u16 source = bpf_ntohs(from), target = bpf_ntohs(to);

	ends->sport = if_there(ports, source);
	ends->dport = if_there(ports, target);
	ends->icmp_id = if_there(icmp, source);
	ends->icmp_type = if_there(icmp, target >> 8);
	ends->icmp_code = if_there(icmp, target & 0xff);
}

static __always_inline void put_protocol_state(struct section_ct *s, struct nf_conn *conn)
{
	s->proto_state = 0;
	s->orig_vtag = s->reply_vtag = -1;
	if (s->protocol == CT_TCP) {
		__u8 state;

		bpf_probe_read_kernel(&state, sizeof(state), &conn->proto.tcp.state);
		s->proto_state = CT_TCP << 8 | state;
	} else if (s->protocol == CT_SCTP) {
		struct ip_ct_sctp *sctp = &conn->proto.sctp;
		__be32 vtag[2];
		__u32 state;

		bpf_probe_read_kernel(&state, sizeof(state), &sctp->state);
		bpf_probe_read_kernel(vtag, sizeof(vtag), &sctp->vtag);
		s->proto_state = CT_SCTP << 8 | (state & 0xff);
		s->orig_vtag = bpf_ntohl(vtag[0]);
		s->reply_vtag = bpf_ntohl(vtag[1]);
	}
}

static __always_inline void put_labels(struct section_ct *s, struct nf_ct_ext *ext)
{
	__u64 labels[2] = {};
	__u8 at = 0;

	if (bpf_core_enum_value_exists(enum nf_ct_ext_id, NF_CT_EXT_LABELS) && is_kernel_address(ext)) {
		bpf_probe_read_kernel(&at, sizeof(at),
				      &ext->offset[bpf_core_enum_value(enum nf_ct_ext_id, NF_CT_EXT_LABELS)]);
		if (at)
			bpf_probe_read_kernel(labels, sizeof(labels), (void *)ext + at);
	}
	s->labels_low = labels[0];
	s->labels_high = labels[1];
}

/* Before a connection is confirmed its timeout is a duration. */
static __always_inline __u32 timeout_ms(__u32 timeout, unsigned long status)
{
	__s32 left = status & IPS_CONFIRMED ? timeout - (__u32)bpf_jiffies64() : timeout;
	__u64 ms = left > 0 ? (__u64)left * tick_ns / 1000000 : 0;

	return ms < UNKNOWN ? ms : UNKNOWN - 1;
}

/* What is known of a packet that conntrack doesn't look at. */
static __always_inline void put_nothing(struct section_ct *s)
{
	__builtin_memset(s, 0, sizeof(*s));
	s->orig = s->reply = (struct ct_ends){ -1, -1, -1, -1, -1 };
	s->protocol = s->zone_id = -1;
	s->status = s->timeout_ms = UNKNOWN;
	s->mark = s->orig_vtag = s->reply_vtag = -1;
	s->zone_dir = 0xff;
	s->state = IP_CT_UNTRACKED;
}

/* Fill a section from a connection; its first bytes are in c->skb_copy afterwards. False: it isn't a whole one. */
static __noinline bool put_connection(struct context *c, struct nf_conn *conn, struct section_ct *s)
{
	__u32 size = bpf_core_type_size(struct nf_conn);
	struct nf_conntrack_tuple *orig, *reply;
	struct nf_conn *view = (void *)c->skb_copy;
	unsigned long status;
	__u16 family;

	if (size > sizeof(c->skb_copy))
		size = sizeof(c->skb_copy);
	if (bpf_probe_read_kernel(c->skb_copy, size, conn))
		return false;
	status = view->status;
	if (status & IPS_TEMPLATE)
		return false;
	orig = &view->tuplehash[0].tuple;
	reply = &view->tuplehash[1].tuple;
	family = orig->src.l3num;
	s->protocol = orig->dst.protonum;
	put_address(&s->orig_src, family, &orig->src.u3);
	put_address(&s->orig_dst, family, &orig->dst.u3);
	put_address(&s->reply_src, family, &reply->src.u3);
	put_address(&s->reply_dst, family, &reply->dst.u3);
	put_ends(&s->orig, s->protocol, orig->src.u.all, orig->dst.u.all);
	put_ends(&s->reply, s->protocol, reply->src.u.all, reply->dst.u.all);
	s->status = status;
	s->timeout_ms = timeout_ms(view->timeout, status);
	/* CONFIG_NF_CONNTRACK_ZONES and _MARK. */
	s->zone_id = bpf_core_field_exists(conn->zone) ? view->zone.id : 0;
	s->zone_dir = bpf_core_field_exists(conn->zone) ? view->zone.dir : 3;
	s->mark = bpf_core_field_exists(conn->mark) ? conn_read(conn, c->skb_copy, mark) : -1;
	put_labels(s, conn_read(conn, c->skb_copy, ext));
	put_protocol_state(s, conn);
	return true;
}

/* parent: the connection that this one was expected by (FTP's data by its control), NULL without one. */
static __always_inline bool collect_ct(struct context *c, struct nf_conn **parent, struct section_ct *s)
{
	struct sk_buff *skb = c->skb;
	struct nf_conn *conn;
	unsigned long nfct;

	if (!skb || !bpf_core_field_exists(skb->_nfct))
		return false;
	nfct = kread(skb, _nfct);
	conn = (void *)(nfct & ~NFCT_INFOMASK);
	if (!is_kernel_address(conn)) {
		put_nothing(s);
		return nfct == IP_CT_UNTRACKED;
	}
	if (!put_connection(c, conn, s))
		return false;
	s->state = nfct & NFCT_INFOMASK;
	note_connection(conn);
	*parent = conn_read(conn, c->skb_copy, master);
	return true;
}

static __always_inline bool collect_ct_parent(struct context *c, struct nf_conn *parent,
					      struct section_ct_parent *s)
{
	return is_kernel_address(parent) && put_connection(c, parent, &s->ct);
}
