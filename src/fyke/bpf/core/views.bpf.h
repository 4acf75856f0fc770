/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What compiled filters work on. Their code is made by user space, which reads the offsets from this object's BTF.
 */
#pragma once

#include "core/probe.bpf.h"

/* A packet as libpcap sees it: bytes from the first header on. An accelerated VLAN tag may have been put in front
 * of the ethertype; so the first bytes must come from `head`, the others are where `at` says. */
struct packet_view {
	__u64 at;	/* address of byte 0, if all bytes were where the ones behind the head are */
	__u32 len;	/* bytes that can be read */
	__u32 wire_len; /* bytes there are */
	__u64 loaded;	/* for what is fetched from behind the head */
	__u32 memory[16];
	__u8 head[160];
};

/* What the field filter starts from. */
struct field_view {
	__u64 roots[6];	  /* addresses of structures; 0: the probe has no such argument */
	__s64 result;	  /* the return value */
	__u64 has_result; /* 0: there is none here */
	__u8 loaded[64];  /* for what is read */
};

/* Of a table, a chain and the like; longer ones are cut. */
struct name {
	char text[128];
};

enum packet_kind {
	PACKET_ETHERNET, /* begins with a link-layer header */
	PACKET_NETWORK,	 /* begins with a network header */
};

enum verdict {
	VERDICT_REJECT,
	VERDICT_MATCH,
	VERDICT_UNREADABLE,
	VERDICT_NO_LINK_LAYER,
};

KEEP_TYPE(struct, packet_view);
KEEP_TYPE(struct, field_view);
KEEP_TYPE(struct, name);
KEEP_TYPE(enum, verdict);
