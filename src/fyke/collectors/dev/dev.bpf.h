/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Which network device is the packet on?
 */
#pragma once

#include "core/frame.bpf.h"

struct section_dev {
	char name[16];
	__u32 ifindex;
	__u32 rx_ifindex;
};

KEEP_TYPE(struct, section_dev);

/* TCP keeps packets in a tree: there skb->dev is the left child's address, and what looks like skb->next is the
 * parent's (struct rb_node: parent and colour, right, left). */
static __always_inline bool is_in_tree(struct context *c)
{
	unsigned long *left = (void *)c->skb_view->dev;
	unsigned long parent = 0;

	if (!c->skb_view->next || !is_kernel_address(left))
		return false;
	bpf_probe_read_kernel(&parent, sizeof(parent), left);
	return (parent & ~3UL) == (unsigned long)c->skb;
}

static __always_inline struct net_device *context_dev(struct context *c)
{
	struct net_device *dev = NULL;

	if (is_frame(c))
		dev = frame_dev(c);
	if (c->skb && !is_in_tree(c))
		dev = c->skb_view->dev;
	if (!is_kernel_address(dev)) {
		dev = (void *)argument(c, c->probe->dev_at);
		if (dev_steps_on)
			dev = follow_steps(dev, c->probe->dev_steps);
	}
	return is_kernel_address(dev) ? dev : NULL;
}

static __always_inline bool collect_dev(struct context *c, struct section_dev *s)
{
	struct net_device *dev = context_dev(c);

	if (!dev)
		return false;
	s->ifindex = kread(dev, ifindex);
	/* Where skb->dev shares its place with something else (a queue's links) there is no device behind it. */
	if (!s->ifindex)
		return false;
	if (direct_reads) {
		struct net_device *view = bpf_rdonly_cast(dev, bpf_core_type_id_kernel(struct net_device));
		__u64 *name = (__u64 *)view->name;

		((__u64 *)s->name)[0] = name[0];
		((__u64 *)s->name)[1] = name[1];
	} else {
		bpf_probe_read_kernel(s->name, sizeof(s->name), dev->name);
	}
	s->rx_ifindex = c->skb ? c->skb_view->skb_iif : 0;
	return true;
}
