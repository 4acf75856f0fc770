/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Function entries through a BPF trampoline: the context is the array of the function's arguments. The kernel makes
 * the trampoline of a program for one function, so that there is a copy of it for each.
 */
#pragma once

#include "core/chain.bpf.h"

/* Of which function it is, and so what its first argument is, differs: none is read as if its place were known. */
#define NO_FIRST -2

SEC("?fentry")
int probe_fentry(void *ctx)
{
	struct context c = { .ctx = ctx };

	chain(&c, marked_probe_id(), NO_FIRST);
	return 0;
}
