/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Where did these segments come from? At the return of __skb_gso_segment() the packets it made get ids of their
 * own, with that of the packet they were cut from as parent.
 */
#pragma once

#include "core/tracking.bpf.h"

#define MAX_SEGMENTS 512

const volatile __s16 gso_return_at = -1; /* offset of the return value in the context, behind the arguments */

static __always_inline long track_segment(struct sk_buff *segment, const struct tracked *whole, __u64 now)
{
	struct tracked t = {};
	__u64 head = (__u64)kread(segment, head);

	t.id.timestamp_ns = now;
	t.id.orig_head = head;
	t.parent = whole->id;
	t.last_seen_ns = now;
	return bpf_map_update_elem(&tracking, &head, &t, BPF_NOEXIST);
}

SEC("?fexit/__skb_gso_segment")
int gso_segment(__u64 *ctx)
{
	struct sk_buff *skb = (void *)ctx[0], *segment = NULL;
	struct tracked *whole;
	__u64 head, now;

	if (!enabled || !is_kernel_address(skb))
		return 0;
	bpf_probe_read_kernel(&segment, sizeof(segment), (void *)ctx + gso_return_at);
	head = (__u64)kread(skb, head);
	whole = bpf_map_lookup_elem(&tracking, &head);
	if (!whole)
		return 0;
	now = bpf_ktime_get_ns();
	for (int i = 0; i < MAX_SEGMENTS && is_kernel_address(segment); i++) {
		track_segment(segment, whole, now);
		segment = kread(segment, next);
	}
	return 0;
}
