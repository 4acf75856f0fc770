/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Names that many records share: a record carries a number in place of the text, which is in a map.
 */
#pragma once

#include "core/context.bpf.h"

/* Name -> its number, the same as long as the collection lasts. Full: the names that come later are not known. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct name);
	__type(value, __u64);
} names SEC(".maps");

/* The number of a name at this address; 0: there is none. Takes the place of the copy of the skb.
 * By chance, not counted: an atomic addition that returns its result is younger than some kernels, Linux kernel
 * commit 5ca419f2864a ("bpf: Add BPF_FETCH field / create atomic_fetch_add instruction") (in v5.12), which would
 * refuse it even where it is never reached. */
static __noinline __u64 name_number(struct context *c, const char *from)
{
	struct name *name = &c->name;
	__u64 number, *known;

	__builtin_memset(name, 0, sizeof(*name));
	if (bpf_probe_read_kernel_str(name->text, sizeof(name->text), from) <= 1)
		return 0;
	known = bpf_map_lookup_elem(&names, name);
	if (known)
		return *known;
	number = (__u64)bpf_get_prandom_u32() << 32 | bpf_get_prandom_u32() | 1;
	if (!bpf_map_update_elem(&names, name, &number, BPF_NOEXIST))
		return number;
	known = bpf_map_lookup_elem(&names, name); /* another CPU was faster, or there is no room */
	return known ? *known : 0;
}
