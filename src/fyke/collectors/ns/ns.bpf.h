/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Which network namespace is the packet in? Its device's, else its socket's, else that of the arguments.
 */
#pragma once

#include "collectors/dev/dev.bpf.h"

struct section_netns {
	__u64 cookie;
	__u32 inum;
	__u32 pad;
};

KEEP_TYPE(struct, section_netns);

static __always_inline struct net *context_net(struct context *c)
{
	struct net_device *dev = context_dev(c);
	struct net *net = NULL;

	if (dev)
		net = kread(dev, nd_net.net);
	if (!is_kernel_address(net) && c->skb) {
		struct sock *sk = c->skb_view->sk;

		if (is_kernel_address(sk))
			net = kread(sk, __sk_common.skc_net.net);
	}
	if (!is_kernel_address(net)) {
		net = (void *)argument(c, c->probe->net_at);
		if (net_steps_on)
			net = follow_steps(net, c->probe->net_steps);
	}
	return is_kernel_address(net) ? net : NULL;
}

static __always_inline bool put_netns(struct net *net, struct section_netns *s)
{
	s->inum = kread(net, ns.inum);
	s->cookie = 0;
	/* Linux kernel commit 3d368ab87cf6 ("net: initialize net->net_cookie at netns setup") (in v5.12). */
	if (bpf_core_field_exists(net->net_cookie))
		s->cookie = kread(net, net_cookie);
	return s->inum != 0;
}

static __always_inline bool collect_netns(struct context *c, struct section_netns *s)
{
	struct net *net = context_net(c);

	return net && put_netns(net, s);
}
