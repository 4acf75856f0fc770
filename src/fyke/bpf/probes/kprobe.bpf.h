/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Function entries: the context is the registers. The same code for one probe at a time and for many at once.
 */
#pragma once

#include "core/chain.bpf.h"

/* Where the first argument is in struct pt_regs (arch/x86/include/uapi/asm/ptrace.h: di; arm64: x0). */
#if defined(__TARGET_ARCH_x86)
#define FIRST_REGISTER 112
#else
#define FIRST_REGISTER 0
#endif

/* Linux kernel commit 7adfc6c9b315 ("bpf: Add bpf_get_attach_cookie() BPF helper to access bpf_cookie value")
 * (in v5.15). */
const volatile bool kprobe_cookie = false;

SEC("?kprobe")
int probe_kprobe(void *ctx)
{
	struct context c = { .ctx = ctx };

	chain(&c, kprobe_cookie ? (__u32)bpf_get_attach_cookie(ctx) : marked_probe_id(), FIRST_REGISTER);
	return 0;
}

/* Linux kernel commit 0dcac2725406 ("bpf: Add multi kprobe link") (in v5.18). */
SEC("?kprobe.multi")
int probe_kprobe_multi(void *ctx)
{
	struct context c = { .ctx = ctx };

	chain(&c, (__u32)bpf_get_attach_cookie(ctx), FIRST_REGISTER);
	return 0;
}
