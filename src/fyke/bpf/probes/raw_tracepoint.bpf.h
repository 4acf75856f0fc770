/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Tracepoints, through BPF_RAW_TRACEPOINT_OPEN: the context is the array of the tracepoint's arguments.
 */
#pragma once

#include "core/chain.bpf.h"

/* Linux kernel commit 68ca5d4eebb8 ("bpf: support BPF cookie in raw_tracepoint (raw_tp, tp_btf) programs")
 * (in v6.10). */
const volatile bool raw_tracepoint_cookie = false;

SEC("?raw_tracepoint")
int probe_raw_tracepoint(void *ctx)
{
	struct context c = { .ctx = ctx };

	chain(&c, raw_tracepoint_cookie ? (__u32)bpf_get_attach_cookie(ctx) : marked_probe_id(), 0);
	return 0;
}
