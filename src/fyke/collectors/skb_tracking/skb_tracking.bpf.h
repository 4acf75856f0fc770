/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Which packet is this, and which one was it cut from or merged into?
 */
#pragma once

#include "core/tracking.bpf.h"

struct section_skb_tracking {
	__u64 orig_head;
	__u64 timestamp_ns;
	__u64 skb;
	__u64 parent_orig_head;
	__u64 parent_timestamp_ns;
};

KEEP_TYPE(struct, section_skb_tracking);

static __always_inline bool collect_skb_tracking(struct context *c, const struct tracked *t,
						 struct section_skb_tracking *s)
{
	if (!t)
		return false;
	s->orig_head = t->id.orig_head;
	s->timestamp_ns = t->id.timestamp_ns;
	s->skb = (__u64)c->skb;
	s->parent_orig_head = t->parent.orig_head;
	s->parent_timestamp_ns = t->parent.timestamp_ns;
	return true;
}
