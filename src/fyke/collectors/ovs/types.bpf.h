/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What is read of Open vSwitch's kernel structures (net/openvswitch/).
 */
#pragma once

#include "collectors/ct/noted.bpf.h"

/* Of the UAPI, include/uapi/linux/openvswitch.h; the numbers don't change. */
#define OVS_ACTION_ATTR_OUTPUT 1
#define OVS_ACTION_ATTR_SET 3
#define OVS_ACTION_ATTR_RECIRC 7
#define OVS_ACTION_ATTR_CT 12
#define OVS_ACTION_ATTR_DROP                                                                                 \
	24 /* Linux kernel commit e7bc7db9ba46 ("net: openvswitch: add explicit drop action") (in v6.7) */
#define OVS_KEY_ATTR_TUNNEL_INFO 31 /* the kernel's own */

#define NFPROTO_IPV4 2
#define NFPROTO_IPV6 10

struct dp_upcall_info {
	__u32 portid;
	__u8 cmd;
} __kernel_struct;

struct sw_flow_id {
	union {
		__u32 ufid[4];
	};
} __kernel_struct;

struct sw_flow_actions;

struct sw_flow {
	struct sw_flow_id id;
	struct sw_flow_actions *sf_acts;
} __kernel_struct;

struct sw_flow_key {
	__u32 recirc_id;
} __kernel_struct;

struct hlist_node {
	struct hlist_node *next;
} __kernel_struct;

struct hlist_head {
	struct hlist_node *first;
};

struct datapath {
	struct hlist_head *ports;
} __kernel_struct;

struct vport {
	struct net_device *dev;
	__u16 port_no;
	struct hlist_node dp_hash_node;
} __kernel_struct;

struct nf_conntrack_helper {
	char name[16];
} __kernel_struct;

struct md_mark {
	__u32 value;
	__u32 mask;
} __kernel_struct;

struct ovs_key_ct_labels {
	__u32 ct_labels_32[4];
} __kernel_struct;

struct md_labels {
	struct ovs_key_ct_labels value;
	struct ovs_key_ct_labels mask;
} __kernel_struct;

struct nf_nat_range2 {
	unsigned int flags;
	union nf_inet_addr min_addr;
	union nf_inet_addr max_addr;
	union nf_conntrack_man_proto min_proto;
	union nf_conntrack_man_proto max_proto;
} __kernel_struct;

struct ovs_conntrack_info {
	struct nf_conntrack_helper *helper;
	struct nf_conntrack_zone zone;
	__u8 commit : 1;
	__u8 nat : 3;
	__u8 force : 1;
	__u16 family;
	struct md_mark mark;
	struct md_labels labels;
	struct nf_nat_range2 range;
} __kernel_struct;

struct ip_tunnel_key {
	__u64 tun_id;
	union {
		__u8 bytes[32];
	} u;
	__u16 tun_flags; /* in network order */
	__u8 tos;
	__u8 ttl;
	__u16 tp_src;
	__u16 tp_dst;
} __kernel_struct;

struct ip_tunnel_info {
	struct ip_tunnel_key key;
	__u8 mode;
} __kernel_struct;

/* Linux kernel commit 5832c4a77d69 ("ip_tunnel: convert __be16 tunnel flags to bitmaps") (in v6.10). */
struct ip_tunnel_key___bitmap {
	unsigned long tun_flags[1];
} __kernel_struct;

struct ip_tunnel_info___bitmap {
	struct ip_tunnel_key___bitmap key;
} __kernel_struct;

struct metadata_dst {
	union {
		struct ip_tunnel_info tun_info;
	} u;
} __kernel_struct;

struct ovs_tunnel_info {
	struct metadata_dst *tun_dst;
} __kernel_struct;

#define ovs_read(ptr, member)                                                                                \
	({                                                                                                   \
		typeof((ptr)->member) __value = 0;                                                           \
		bpf_probe_read_kernel(&__value, sizeof(__value), &(ptr)->member);                            \
		__value;                                                                                     \
	})
