/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Kernel stack traces: the record carries an id, the frames are in a map.
 */
#pragma once

#include "core/context.bpf.h"

#define STACK_FRAMES 127 /* the kernel's own limit, PERF_MAX_STACK_DEPTH */

struct {
	__uint(type, BPF_MAP_TYPE_STACK_TRACE);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, STACK_FRAMES * sizeof(__u64));
} stacks SEC(".maps");

const volatile bool any_stack = false;

static __always_inline __s32 stack_id(struct context *c, void *ctx)
{
	long id;

	if (!any_stack || !(c->probe->flags & (PROBE_STACK | PROBE_LOOK)))
		return -1;
	id = bpf_get_stackid(ctx, &stacks, 0);
	if (id < 0 && c->probe->flags & PROBE_STACK)
		count(&c->counters->stack_full);
	return id;
}
