/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Which rule of nftables, or policy, decided what about the packet? At __nft_trace_packet(), which the kernel calls at
 * every verdict while somebody traces (`meta nftrace set 1`).
 */
#pragma once

#include "core/names.bpf.h"

/* Of the UAPI: include/uapi/linux/netfilter.h, netfilter/nf_tables.h. */
#define NF_VERDICT_MASK 0xff
#define NF_STOLEN 2
#define NFT_CONTINUE -1
#define NFT_JUMP -3
#define NFT_GOTO -4
#define NFT_RETURN -5
#define NFT_TRACETYPE_POLICY 1
#define NFT_TRACETYPE_RETURN 2

#define NFT_RULES (1 << 20) /* of a chain, as far as its end is looked for */

/* What a rule is found by. */
struct nft_rule_place {
	__s64 table_handle;
	__s64 rule_handle; /* -1: no rule, but the policy or the end of the chain */
	__u32 netns;	   /* inode number */
	__u32 pad;
};

struct section_nft {
	struct nft_rule_place rule;
	__u64 table_name; /* numbers of names */
	__u64 chain_name;
	__u64 verdict_chain_name; /* 0: the verdict leads to none */
	__s64 chain_handle;
	__s32 verdict; /* NFT_* or NF_* */
	__u8 policy;
	__u8 pad[3];
};

KEEP_TYPE(struct, section_nft);

struct nft_table {
	char *name;
	__u64 handle;
} __kernel_struct;

struct nf_hook_state {
	struct net *net;
} __kernel_struct;

struct nft_pktinfo {
	struct nf_hook_state *state;
} __kernel_struct;

struct nft_chain {
	char *name;
	struct nft_table *table;
	__u64 handle;
} __kernel_struct;

struct nft_base_chain {
	__u8 policy;
	struct nft_chain chain;
} __kernel_struct;

struct nft_verdict {
	__u32 code;
	struct nft_chain *chain;
} __kernel_struct;

struct nft_rule {
	__u64 handle : 42;
} __kernel_struct;

/* Linux kernel commit 2c865a8a28a1 ("netfilter: nf_tables: add rule blob layout") (in v5.17): before it nft_rule. */
struct nft_rule_dp {
	__u64 is_last : 1;
	__u64 dlen : 12;
	__u64 handle : 42;
} __kernel_struct;

/* Linux kernel commit 63e9bbbcca60 ("netfilter: nf_tables: don't store chain address on jump") (in v6.4): since then
 * only the end of a chain's rules knows which chain it is. */
struct nft_rule_dp_last {
	struct nft_chain *chain;
} __kernel_struct;

/* nf_trace: Linux kernel commit e34b9ed96ce3 ("netfilter: nf_tables: avoid skb access on nf_stolen") (in v5.19).
 * chain, rule and verdict are arguments since Linux kernel commits 63e9bbbcca60 (see above), 46df417544f4 ("netfilter:
 * nf_tables: do not store rule in traceinfo structure") and 0a202145d5f9 ("netfilter: nf_tables: do not store verdict
 * in traceinfo structure") (all in v6.4). */
struct nft_traceinfo {
	struct nft_pktinfo *pkt;
	bool trace;
	bool nf_trace;
	struct nft_base_chain *basechain;
	struct nft_chain *chain;
	void *rule;
	struct nft_verdict *verdict;
} __kernel_struct;

/* Linux kernel commit 6018e1f407cc ("bpf: implement numbers iterator") (in v6.4). */
struct bpf_iter_num {
	__u64 opaque[1];
} __attribute__((aligned(8)));

extern int bpf_iter_num_new(struct bpf_iter_num *it, int start, int end) __ksym __weak;
extern int *bpf_iter_num_next(struct bpf_iter_num *it) __ksym __weak;
extern void bpf_iter_num_destroy(struct bpf_iter_num *it) __ksym __weak;

const volatile __u32 nft_verdicts = 0; /* those that were asked for: 1 << (verdict - NFT_RETURN) */

/* A member of a structure that may be a module's, whose types bpf_rdonly_cast() doesn't know. */
#define nft_read(ptr, member)                                                                                \
	({                                                                                                   \
		typeof((ptr)->member) __value = 0;                                                           \
		bpf_probe_read_kernel(&__value, sizeof(__value), &(ptr)->member);                            \
		__value;                                                                                     \
	})

/* What the kernel asks itself before it tells anybody. */
static __always_inline bool is_traced(const struct context *c, struct nft_traceinfo *info)
{
	if (!nft_read(info, trace))
		return false;
	if (bpf_core_field_exists(info->nf_trace))
		return nft_read(info, nf_trace);
	return c->skb && BPF_CORE_READ_BITFIELD_PROBED(c->skb, nf_trace);
}

static __always_inline struct nft_verdict *verdict_of(const struct context *c, struct nft_traceinfo *info)
{
	if (bpf_core_field_exists(info->verdict))
		return nft_read(info, verdict);
	return (void *)argument(c, c->probe->nft_verdict_at);
}

static __always_inline void *rule_of(const struct context *c, struct nft_traceinfo *info)
{
	if (bpf_core_field_exists(info->rule))
		return nft_read(info, rule);
	return (void *)argument(c, c->probe->nft_rule_at);
}

static __always_inline bool is_policy(const struct context *c)
{
	return (__u32)argument(c, c->probe->nft_type_at) == NFT_TRACETYPE_POLICY;
}

/* Without what is beside it: the number of a queue, the error of a drop. */
static __always_inline __s32 verdict_code(const struct context *c, struct nft_traceinfo *info)
{
	struct nft_base_chain *base;
	struct nft_verdict *verdict;
	__s32 code;

	if (is_policy(c)) {
		base = nft_read(info, basechain);
		return nft_read(base, policy);
	}
	verdict = verdict_of(c, info);
	code = nft_read(verdict, code);
	return code >= NFT_RETURN && code < 0 ? code : code & NF_VERDICT_MASK;
}

/* Is this what was asked for? Else there is no event. */
static __noinline bool is_wanted_verdict(struct context *c)
{
	struct nft_traceinfo *info = (void *)argument(c, c->probe->nft_info_at);
	__s32 code;

	if (!is_kernel_address(info) || !is_traced(c, info))
		return false;
	code = verdict_code(c, info);
	if (code == NF_STOLEN)
		c->skb = NULL; /* it is somebody else's, or free already */
	return code - NFT_RETURN < 32 && nft_verdicts & 1U << (code - NFT_RETURN);
}

/* The end of a chain's rules, which lie behind each other. NULL: there is none. */
static __always_inline struct nft_rule_dp_last *end_of_rules(struct nft_rule_dp *rule)
{
	struct nft_rule_dp_last *last = NULL;
	struct nft_rule_dp here = {};
	struct bpf_iter_num it;

	bpf_iter_num_new(&it, 0, NFT_RULES);
	while (bpf_iter_num_next(&it)) {
		if (bpf_probe_read_kernel(&here, sizeof(here), rule))
			break;
		if (BPF_CORE_READ_BITFIELD(&here, is_last)) {
			last = (void *)rule;
			break;
		}
		rule = (void *)rule + bpf_core_type_size(struct nft_rule_dp) +
		       BPF_CORE_READ_BITFIELD(&here, dlen);
	}
	bpf_iter_num_destroy(&it);
	return last;
}

static __noinline struct nft_chain *chain_of(struct context *c, struct nft_traceinfo *info, void *rule)
{
	struct nft_rule_dp_last *last;

	if (bpf_core_field_exists(info->chain))
		return (void *)argument(c, c->probe->nft_chain_at);
	if (!rule)
		return &nft_read(info, basechain)->chain;
	last = end_of_rules(rule);
	return last ? nft_read(last, chain) : NULL;
}

/* As nf_trace_fill_rule_info() has it: a verdict to go on at the return is the end of the chain. */
static __always_inline __s64 rule_handle(const struct context *c, void *rule, __s32 code)
{
	if (!rule || is_policy(c) ||
	    (code == NFT_CONTINUE && (__u32)argument(c, c->probe->nft_type_at) == NFT_TRACETYPE_RETURN))
		return -1;
	if (!bpf_core_type_exists(struct nft_rule_dp))
		return BPF_CORE_READ_BITFIELD_PROBED((struct nft_rule *)rule, handle);
	if (BPF_CORE_READ_BITFIELD_PROBED((struct nft_rule_dp *)rule, is_last))
		return -1;
	return BPF_CORE_READ_BITFIELD_PROBED((struct nft_rule_dp *)rule, handle);
}

static __always_inline __u32 netns_of(const struct context *c, struct nft_traceinfo *info)
{
	struct nft_pktinfo *pkt;
	struct nf_hook_state *state;
	struct net *net;

	if (bpf_core_field_exists(info->pkt))
		pkt = nft_read(info, pkt);
	else
		pkt = (void *)argument(c, c->probe->skb_at);
	state = nft_read(pkt, state);
	net = nft_read(state, net);
	return nft_read(net, ns.inum);
}

static __always_inline __u64 target_of(struct context *c, struct nft_verdict *verdict)
{
	struct nft_chain *chain = nft_read(verdict, chain);

	return name_number(c, nft_read(chain, name));
}

static __always_inline bool collect_nft(struct context *c, struct section_nft *s)
{
	struct nft_traceinfo *info = (void *)argument(c, c->probe->nft_info_at);
	void *rule = rule_of(c, info);
	struct nft_chain *chain = chain_of(c, info, rule);
	struct nft_table *table;

	if (!is_kernel_address(chain))
		return false;
	table = nft_read(chain, table);
	s->table_name = name_number(c, nft_read(table, name));
	s->chain_name = name_number(c, nft_read(chain, name));
	s->rule.table_handle = nft_read(table, handle);
	s->chain_handle = nft_read(chain, handle);
	s->verdict = verdict_code(c, info);
	s->rule.rule_handle = rule_handle(c, rule, s->verdict);
	s->rule.netns = netns_of(c, info);
	s->rule.pad = 0; /* the bytes are what the rule is known by */
	s->policy = is_policy(c);
	s->verdict_chain_name = 0;
	if (!s->policy && (s->verdict == NFT_JUMP || s->verdict == NFT_GOTO))
		s->verdict_chain_name = target_of(c, verdict_of(c, info));
	return true;
}
