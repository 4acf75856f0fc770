/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The record: what one hit of one probe sends to user space. Every record of a collection has the same size:
 * this header, then the sections that are on, at offsets chosen when the collection is planned. These structs
 * are the only description of the layout: user space reads it from this object's BTF.
 */
#pragma once

#include "core/kernel.bpf.h"

/* One bit a section in `present`; the names are those of the event table's columns. */
enum section_id {
	SECTION_skb_tracking,
	SECTION_skb_drop,
	SECTION_vlan_accel,
	SECTION_skb_meta,
	SECTION_skb_dataref,
	SECTION_skb_gso,
	SECTION_netns,
	SECTION_dev,
	SECTION_nft,
	SECTION_ct,
	SECTION_ct_parent,
	SECTION_ct_event,
	SECTION_retval,
	SECTION_userspace,
	SECTION_arguments,
	SECTION_ovs_upcall,
	SECTION_ovs_lookup,
	SECTION_ovs_action,
	SECTION_ovs_recv,
	SECTION_ovs_operation,
	SECTION_packet, /* last: the only one whose size is the user's choice */
	SECTIONS,
};

struct record {
	__u64 timestamp_ns;
	__u32 present; /* 1 << section_id */
	__u32 cpu;
	__s32 pid;
	__s32 tgid;
	__s32 stack_id; /* negative: none */
	__u32 probe;
	char comm[16];
};

/* Where each section is in a record; 0: it is off, and the verifier removes its code. */
const volatile __u16 section_at[SECTIONS] = {};
const volatile __u32 record_bytes = sizeof(struct record);

/* Makes BTF keep a type that is only used by inlined code. */
#define KEEP_TYPE(kind, name) kind name *__keep_##name SEC(".keep") __attribute__((used))

KEEP_TYPE(enum, section_id);
KEEP_TYPE(struct, record);
