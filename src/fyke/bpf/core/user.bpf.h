/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What is collected where a user program is probed: the place in the program, and the arguments there.
 */
#pragma once

#include "core/chain.bpf.h"

#define MOST_ARGUMENTS 12 /* sys/sdt.h has macros for no more */

/* Where the program counter is in struct pt_regs (arch/x86/include/asm/ptrace.h, arch/arm64/include/asm/ptrace.h). */
#if defined(__TARGET_ARCH_x86)
#define IP_REGISTER 128
#else
#define IP_REGISTER 256
#endif

/* A register plus an index plus a number: the argument, or the address in the process where it is. */
struct user_argument {
	__u64 add;
	__s16 base_at; /* of registers: offset in the context; negative: none */
	__s16 index_at;
	__u8 shift; /* of the index, to the left */
	__u8 bytes; /* of the argument, 1 to 8; 0: it can't be read */
	__u8 memory;
	__u8 is_signed;
};

struct user_place {
	struct user_argument arguments[MOST_ARGUMENTS];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1); /* number of probes, if one is in a user program */
	__type(key, __u32);
	__type(value, struct user_place);
} user_places SEC(".maps");

struct section_userspace {
	__u64 ip;
};

struct section_arguments {
	__u64 unread; /* 1 << argument: it couldn't be read, or isn't there */
	__u64 values[MOST_ARGUMENTS];
};

KEEP_TYPE(struct, user_argument);
KEEP_TYPE(struct, section_userspace);
KEEP_TYPE(struct, section_arguments);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} no_programs SEC(".maps");

const volatile bool never = false;

/* Every program at a probe of user space must have this. Linux kernel commit e00931c02568 ("bpf: Enable private stack for
 * eligible subprogs") (in v6.13) gives a program that can't interrupt itself a stack of its own on each CPU. It takes all
 * of this type for such, but at a uprobe a task may be preempted, and the next one on the CPU then runs on the same stack:
 * packets are mistaken for others, and pointers are anything. A program with a tail call, reached or not, is left on the
 * task's stack. */
static __always_inline void keep_own_stack(void *ctx)
{
	if (never)
		bpf_tail_call(ctx, &no_programs, 0);
}

/* The process, or the thread, that is looked at; 0: all. */
const volatile __u32 user_tgid = 0;
const volatile __u32 user_pid = 0;

static __always_inline bool is_wanted_task(void)
{
	__u64 pid_tgid = bpf_get_current_pid_tgid();

	return (!user_tgid || user_tgid == pid_tgid >> 32) && (!user_pid || user_pid == (__u32)pid_tgid);
}

/* Look up the probe and count the hit; false: nothing is to be done. */
static __always_inline bool user_begin(struct context *c, __u32 probe_id)
{
	if (!look_up(c, probe_id))
		return false;
	count(&c->counters->hits);
	return is_wanted_task();
}

/* Read an argument; false, and 0: it can't be. In a function of its own the verifier looks at it once. */
static __noinline bool user_argument(void *ctx, const struct user_argument *where, __u64 *value)
{
	__u64 sum = where->add, index = 0, part = 0;
	__u32 bytes = (where->bytes - 1) & 7, unused;

	barrier_var(bytes); /* else the verifier sees a limit of another variable */
	bytes++;
	*value = 0;
	if (!where->bytes)
		return false;
	if (where->base_at >= 0)
		bpf_probe_read_kernel(&part, sizeof(part), ctx + where->base_at);
	if (where->index_at >= 0)
		bpf_probe_read_kernel(&index, sizeof(index), ctx + where->index_at);
	sum += part + (index << (where->shift & 63));
	if (where->memory) {
		__u64 read = 0;

		if (bpf_probe_read_user(&read, bytes, (void *)sum))
			return false;
		sum = read;
	}
	unused = (64 - 8 * bytes) & 63;
	*value = where->is_signed ? (__s64)(sum << unused) >> unused : sum << unused >> unused;
	return true;
}

static __always_inline bool collect_userspace(struct context *c, struct section_userspace *s)
{
	s->ip = argument(c, IP_REGISTER);
	return true;
}

static __always_inline bool collect_arguments(struct context *c, struct section_arguments *s)
{
	struct user_place *place = bpf_map_lookup_elem(&user_places, &c->probe_id);
	/* In the record, of which the verifier knows nothing: 5.10's would follow what comes once for each combination. */
	volatile __u64 *unread = &s->unread;

	if (!place)
		return false;
	*unread = 0;
	for (int i = 0; i < MOST_ARGUMENTS; i++) {
		__u64 value = 0;

		if (!user_argument(c->ctx, &place->arguments[i], &value))
			*unread |= 1ULL << i;
		s->values[i] = value;
	}
	return true;
}
