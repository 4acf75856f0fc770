/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A connection enters conntrack's table, or leaves it: why? What has it leave is told by the functions on the way.
 */
#pragma once

#include "collectors/ct/ct.bpf.h"

#define IPS_SEEN_REPLY (1UL << 1)
#define NO_PACKET 255
#define CAUSE_FRAMES 8
#define CREATED_FRAMES 2 /* that many tell it: the first may be the function itself */

enum ct_event {
	CT_CREATED,
	CT_DESTROYED,
};

enum ct_cause_flags {
	CT_SEEN_REPLY = 1 << 0,
	CT_EXPIRED = 1 << 1,
};

struct ct_cause {
	__u64 frames[CAUSE_FRAMES]; /* return addresses, the innermost first; 0: no more */
	__u64 flags;
};

struct section_ct_event {
	struct ct_cause cause;
	__u8 event;
	__u8 pad[7];
};

KEEP_TYPE(struct, section_ct_event);

const volatile __u32 connections_netns = 0; /* the one that is of interest; 0: all */

/* Is it one of those that were asked for? One that is gone is asked about no more. */
static __noinline bool is_wanted_connection(struct context *c, struct nf_conn *conn)
{
	__u64 key = (__u64)conn, words[NOTED_WORDS];
	struct net *net;
	bool noted;

	if (connections_netns) {
		bpf_probe_read_kernel(&net, sizeof(net), &conn->ct_net.net);
		return kread(net, ns.inum) == connections_netns;
	}
	if (!note_connections)
		return true;
	noted = noted_tuple(conn, words) && is_noted(key, words);
	if (noted && c->probe->flags & PROBE_DESTROYED)
		bpf_map_delete_elem(&connections, &key);
	return noted;
}

/* c->skb_copy holds the connection. */
static __always_inline bool collect_ct_event(struct context *c, struct section_ct_event *s)
{
	struct ct_cause *cause = &s->cause;
	struct nf_conn *view = (void *)c->skb_copy;
	bool created = c->probe->flags & PROBE_CREATED;

	__builtin_memset(cause, 0, sizeof(*cause));
	if (created)
		bpf_get_stack(c->ctx, cause->frames, CREATED_FRAMES * sizeof(cause->frames[0]), 0);
	else
		bpf_get_stack(c->ctx, cause->frames, sizeof(cause->frames), 0);
	if (view->status & IPS_SEEN_REPLY)
		cause->flags |= CT_SEEN_REPLY;
	if (!created && (__s32)(view->timeout - (__u32)bpf_jiffies64()) <= 0)
		cause->flags |= CT_EXPIRED;
	s->event = created ? CT_CREATED : CT_DESTROYED;
	return true;
}
