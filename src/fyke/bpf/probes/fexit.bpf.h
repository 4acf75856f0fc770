/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Function returns through a BPF trampoline: a pair of programs, too, since the entry alone knows which packet it is.
 * Both have the same context, on the stack of the call: the arguments, the return value behind them.
 */
#pragma once

#include "core/returns.bpf.h"
#include "probes/fentry.bpf.h"

/* The context's address as a number: the verifier allows no arithmetic with the pointer. */
static __always_inline __u64 frame_of(const struct context *c)
{
	__u64 frame = 0;

	bpf_probe_read_kernel(&frame, sizeof(frame), &c->ctx);
	return frame;
}

SEC("?fentry")
int entry_fexit(void *ctx)
{
	struct context c = { .ctx = ctx };

	call_begins(&c, marked_probe_id(), NO_FIRST, frame_of(&c), false);
	return 0;
}

SEC("?fexit")
int probe_fexit(void *ctx)
{
	struct context c = { .ctx = ctx };

	call_returns(&c, marked_probe_id(), frame_of(&c), 0, false, 0, false);
	return 0;
}
