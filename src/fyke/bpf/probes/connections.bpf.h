/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Where connections enter conntrack's table and leave it. No packet is there: nothing but the connection is collected.
 */
#pragma once

#include "collectors/ct/event.bpf.h"
#include "probes/kprobe.bpf.h"

static __always_inline __u32 collect_connection(struct context *c, struct nf_conn *conn, struct record *r)
{
	struct section_ct *ct = (void *)r + section_at[SECTION_ct];
	struct nf_conn *parent;
	struct net *net;
	__u32 present = 0;

	if (!section_at[SECTION_ct] || !put_connection(c, conn, ct))
		return 0;
	ct->state = NO_PACKET;
	present |= 1U << SECTION_ct;
	COLLECT(ct_event);
	parent = conn_read(conn, c->skb_copy, master);
	COLLECT(ct_parent, parent);
	bpf_probe_read_kernel(&net, sizeof(net), &conn->ct_net.net);
	if (on(c, SECTION_netns) && is_kernel_address(net) &&
	    put_netns(net, (void *)r + section_at[SECTION_netns]))
		present |= 1U << SECTION_netns;
	return present;
}

static __always_inline void connection_event(void *ctx, __u32 probe_id)
{
	struct context c = { .ctx = ctx };
	struct nf_conn *conn;
	struct record *r;
	void *ring;

	if (!begin(&c, probe_id, FIRST_REGISTER))
		return;
	conn = (void *)argument(&c, c.probe->other_at);
	if (!is_kernel_address(conn) || !is_wanted_connection(&c, conn))
		return;
	ring = bpf_map_lookup_elem(&rings, &c.cpu);
	if (!ring)
		return;
	r = open_record(&c, ring, ctx);
	if (r)
		close_record(&c, ring, r, collect_connection(&c, conn, r));
}

SEC("?kprobe")
int connection_kprobe(void *ctx)
{
	connection_event(ctx, kprobe_cookie ? (__u32)bpf_get_attach_cookie(ctx) : marked_probe_id());
	return 0;
}

SEC("?kprobe.multi")
int connection_kprobe_multi(void *ctx)
{
	connection_event(ctx, (__u32)bpf_get_attach_cookie(ctx));
	return 0;
}
