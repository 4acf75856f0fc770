/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The kernel structures that the core and more than one collector read, with only the members that are
 * read (CO-RE finds them where the running kernel has them), and the way to read them.
 */
#pragma once

#include <linux/bpf.h>
#include <linux/types.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#define __kernel_struct __attribute__((preserve_access_index))

typedef struct {
	int counter;
} atomic_t;

typedef struct {
	atomic_t refs;
} refcount_t;

struct ns_common {
	unsigned int inum;
} __kernel_struct;

struct net {
	struct ns_common ns;
	__u64 net_cookie;
} __kernel_struct;

typedef struct {
	struct net *net;
} __kernel_struct possible_net_t;

struct net_device {
	char name[16];
	int ifindex;
	possible_net_t nd_net;
} __kernel_struct;

struct sock_common {
	possible_net_t skc_net;
} __kernel_struct;

struct sock {
	struct sock_common __sk_common;
} __kernel_struct;

struct sk_buff {
	struct sk_buff *next;
	struct net_device *dev;
	struct sock *sk;
	unsigned int len;
	unsigned int data_len;
	__u8 cloned : 1;
	__u8 nohdr : 1;
	__u8 fclone : 2;
	__u8 ip_summed : 2;
	__u8 csum_level : 2;
	__u8 vlan_present : 1;
	__u8 nf_trace : 1;
	__u32 csum;
	__u32 priority;
	int skb_iif;
	__u32 hash;
	__u16 vlan_proto;
	__u16 vlan_tci;
	__u16 protocol;
	__u16 network_header;
	__u16 mac_header;
	__u32 tail;
	__u32 end;
	unsigned char *head;
	unsigned char *data;
	unsigned long _nfct; /* CONFIG_NF_CONNTRACK */
	refcount_t users;
} __kernel_struct;

struct skb_shared_info {
	__u8 nr_frags;
	__u8 flags;
	unsigned short gso_size;
	unsigned short gso_segs;
	unsigned int gso_type;
	atomic_t dataref;
} __kernel_struct;

/* How kernel memory is read: through plain loads where the kernel has bpf_rdonly_cast(), else by copying.
 * Twenty-one loads cost 30 to 90 ns, one copy 40, twenty-one helper calls 700 (see bench/README.md).
 * Linux kernel commit a35b9af4ec2c ("bpf: Add a kfunc for generic type cast") (in v6.2). */
const volatile bool direct_reads = false;

extern void *bpf_rdonly_cast(const void *obj, __u32 btf_id) __ksym __weak;

static __always_inline bool is_kernel_address(const void *p)
{
	/* The members that share a union with a pointer (dev_scratch, ip_defrag_offset, rbnode) are no addresses. */
	return (long)p < 0 && (unsigned long)p < -4095UL;
}

/* Read one member of a kernel structure: `ptr` must be a plain variable of pointer type. */
#define kread(ptr, member)                                                                                   \
	({                                                                                                   \
		typeof((ptr)->member) __value = (typeof((ptr)->member))0;                                    \
		if (direct_reads)                                                                            \
			__value =                                                                            \
				((typeof(ptr))bpf_rdonly_cast(ptr, bpf_core_type_id_kernel(typeof(*(ptr))))) \
					->member;                                                            \
		else                                                                                         \
			bpf_probe_read_kernel(&__value, sizeof(__value), &(ptr)->member);                    \
		__value;                                                                                     \
	})

/* A structure of which many members are read: the kernel's own, or a copy of its first bytes in `copy`. */
#define kview(ptr, copy)                                                                                     \
	({                                                                                                   \
		typeof(ptr) __view = (void *)(copy);                                                         \
		if (direct_reads) {                                                                          \
			__view = bpf_rdonly_cast(ptr, bpf_core_type_id_kernel(typeof(*(ptr))));              \
		} else {                                                                                     \
			__u32 __size = bpf_core_type_size(typeof(*(ptr)));                                   \
			if (__size > sizeof(copy))                                                           \
				__size = sizeof(copy);                                                       \
			bpf_probe_read_kernel(copy, __size, ptr);                                            \
		}                                                                                            \
		__view;                                                                                      \
	})
