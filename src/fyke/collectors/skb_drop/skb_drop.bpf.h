/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Why was the packet dropped? The reason is an argument of the probed function or tracepoint.
 */
#pragma once

#include "core/context.bpf.h"

struct section_skb_drop {
	__u32 reason; /* enum skb_drop_reason, or another subsystem's (upper 16 bits) */
	__u32 pad;
};

KEEP_TYPE(struct, section_skb_drop);

/* Linux kernel commit c504e5c2f964 ("net: skb: introduce kfree_skb_reason()") (in v5.17): before it a drop has no
 * reason, and only the probe itself says that it was one. */
const volatile bool has_drop_reasons = false;

static __always_inline bool collect_skb_drop(struct context *c, struct section_skb_drop *s)
{
	if (has_drop_reasons && c->probe->reason_at < 0)
		return false;
	s->reason = argument(c, c->probe->reason_at);
	return true;
}
