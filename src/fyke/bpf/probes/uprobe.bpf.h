/* SPDX-License-Identifier: GPL-2.0 */
/*
 * User programs: functions (uprobes) and USDT probes. The context is the registers of the process. No packet is there.
 */
#pragma once

#include "core/user.bpf.h"
#include "probes/kprobe.bpf.h"

static __always_inline __u32 collect_user(struct context *c, struct record *r)
{
	__u32 present = 0;

	COLLECT(userspace);
	COLLECT(arguments);
	return present;
}

static __always_inline void user_event(void *ctx, __u32 probe_id)
{
	struct context c = { .ctx = ctx };
	struct record *r;
	void *ring;

	if (!user_begin(&c, probe_id))
		return;
	ring = bpf_map_lookup_elem(&rings, &c.cpu);
	if (!ring)
		return;
	r = open_record(&c, ring, ctx);
	if (r)
		close_record(&c, ring, r, collect_user(&c, r));
}

SEC("?kprobe")
int probe_uprobe(void *ctx)
{
	keep_own_stack(ctx);
	user_event(ctx, kprobe_cookie ? (__u32)bpf_get_attach_cookie(ctx) : marked_probe_id());
	return 0;
}
