/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Function returns by kprobes: a pair of programs. The registers of the return have the value only, and the entry
 * remembers the arguments, as an array.
 */
#pragma once

#include "core/returns.bpf.h"
#include "probes/kprobe.bpf.h"

/* Offsets into struct pt_regs: the arguments in order, the returned value, the stack pointer
 * (arch/x86/include/asm/ptrace.h, arch/arm64/include/uapi/asm/ptrace.h). */
#if defined(__TARGET_ARCH_x86)
#define REGISTER(n) ((int[]){ 112, 104, 96, 88, 72, 64 }[n])
#define RESULT_REGISTER 80
#define STACK_REGISTER 152
#else
#define REGISTER(n) ((n)*8)
#define RESULT_REGISTER 0
#define STACK_REGISTER 248
#endif

/* By how much the stack pointers of entry and return may differ. Where kprobe.multi returns without one (arm64), the
 * last call is taken: calls of a task end in the order opposite to that of their beginning. */
#if defined(__TARGET_ARCH_x86)
#define FRAME_SLACK 256
#else
#define FRAME_SLACK (1ULL << 62)
#endif

#define REGISTER_AT(ctx, at) (*(__u64 *)((ctx) + (at)))
#define ARGUMENT_REGISTERS(ctx)                                                                              \
	{                                                                                                    \
		REGISTER_AT(ctx, REGISTER(0)), REGISTER_AT(ctx, REGISTER(1)), REGISTER_AT(ctx, REGISTER(2)), \
			REGISTER_AT(ctx, REGISTER(3)), REGISTER_AT(ctx, REGISTER(4)),                        \
			REGISTER_AT(ctx, REGISTER(5)),                                                       \
	}

static __always_inline int kretprobe_entry(void *ctx, __u32 probe_id)
{
	__u64 arguments[CALL_REGISTERS] = ARGUMENT_REGISTERS(ctx);
	struct context c = { .ctx = arguments };

	call_begins(&c, probe_id, 0, REGISTER_AT(ctx, STACK_REGISTER), true);
	return 0;
}

static __always_inline int kretprobe_return(void *ctx, __u32 probe_id)
{
	struct context c = { .ctx = ctx };

	call_returns(&c, probe_id, REGISTER_AT(ctx, STACK_REGISTER), FRAME_SLACK, true,
		     REGISTER_AT(ctx, RESULT_REGISTER), false);
	return 0;
}

SEC("?kprobe")
int entry_kretprobe(void *ctx)
{
	return kretprobe_entry(ctx, kprobe_cookie ? (__u32)bpf_get_attach_cookie(ctx) : marked_probe_id());
}

SEC("?kretprobe")
int probe_kretprobe(void *ctx)
{
	return kretprobe_return(ctx, kprobe_cookie ? (__u32)bpf_get_attach_cookie(ctx) : marked_probe_id());
}

SEC("?kprobe.multi")
int entry_kretprobe_multi(void *ctx)
{
	return kretprobe_entry(ctx, (__u32)bpf_get_attach_cookie(ctx));
}

SEC("?kretprobe.multi")
int probe_kretprobe_multi(void *ctx)
{
	return kretprobe_return(ctx, (__u32)bpf_get_attach_cookie(ctx));
}
