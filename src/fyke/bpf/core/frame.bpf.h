/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A packet as XDP programs have it, before there is an skb: the memory it is in, and its device.
 */
#pragma once

#include "core/context.bpf.h"

struct xdp_rxq_info {
	struct net_device *dev;
} __kernel_struct;

struct xdp_buff {
	void *data;
	void *data_end;
	void *data_hard_start;
	struct xdp_rxq_info *rxq;
	__u32 frame_sz;
	__u32 flags;
} __kernel_struct;

struct skb_shared_info___frame {
	unsigned int xdp_frags_size;
} __kernel_struct;

const volatile bool frames_on = false;

#define MANY_BUFFERS 1 /* XDP_FLAGS_HAS_FRAGS of xdp_buff->flags */
#define CACHE_LINE 64  /* SMP_CACHE_BYTES, of both architectures */
#define MOST_LINEAR 0xffff

/* Packets are given to the probe as XDP has them. It is asked of memory: the stack has no room for it. */
static __always_inline bool is_frame(const struct context *c)
{
	return frames_on && c->probe->flags & PROBE_FRAMES;
}

static __always_inline void context_frame(struct context *c)
{
	struct xdp_buff *xdp = (void *)argument(c, 0);

	c->skb = NULL;
	c->xdp = NULL;
	if (!is_kernel_address(xdp))
		return;
	c->xdp = xdp;
	c->head = kread(xdp, data_hard_start);
}

static __always_inline unsigned char *frame_data(const struct context *c)
{
	struct xdp_buff *xdp = c->xdp;

	return kread(xdp, data);
}

/* How many bytes are in one piece from `data` on. */
static __always_inline __u32 frame_linear(const struct context *c, unsigned char *data)
{
	struct xdp_buff *xdp = c->xdp;
	unsigned char *end = kread(xdp, data_end);

	return end > data && end - data <= MOST_LINEAR ? end - data : 0;
}

/* ... and how many more in other pieces. Linux kernel commit 2e88d4ff0301 ("xdp: introduce flags field in
 * xdp_buff/xdp_frame") (in v5.18). */
static __always_inline __u32 frame_beyond(const struct context *c)
{
	struct xdp_buff *xdp = c->xdp;
	struct skb_shared_info___frame *info = (void *)c->head;

	if (!bpf_core_field_exists(xdp->flags) || !bpf_core_field_exists(info->xdp_frags_size))
		return 0;
	if (!(kread(xdp, flags) & MANY_BUFFERS))
		return 0;
	info = (void *)info + kread(xdp, frame_sz) -
	       (bpf_core_type_size(struct skb_shared_info) + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
	return kread(info, xdp_frags_size);
}

static __noinline struct net_device *frame_dev(const struct context *c)
{
	struct xdp_buff *xdp = c->xdp;
	struct xdp_rxq_info *rxq = kread(xdp, rxq);

	return is_kernel_address(rxq) ? kread(rxq, dev) : NULL;
}
