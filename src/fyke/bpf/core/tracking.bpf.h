/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Which packet is this? A packet is known by the address of its data, skb->head: clones share it, and NAT,
 * forwarding and crossing namespaces leave it. Its id is the time and the head of the first sight, and stays
 * when the data moves to other memory.
 *
 * The end of a packet is the freeing of its data. Where functions can be probed, skb_free_head() and its like
 * tell; nothing else is needed. Where only tracepoints can be had many frees go unseen (__kfree_skb() has no
 * tracepoint), so there a packet is also recognised by what its headers say (`verify_identity`).
 */
#pragma once

#include "core/frame.bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, __u64); /* skb->head; for a moment, when the data is moving, the skb itself */
	__type(value, struct tracked);
} tracking SEC(".maps");

const volatile bool tracking_on = false;
const volatile bool verify_identity = false; /* frees are not all seen */

#define IPV4_BE 0x0008 /* ETH_P_IP and ETH_P_IPV6 in network order, on the little-endian machines there are */
#define IPV6_BE 0xdd86

struct header_bytes {
	__u64 words[8];
};

static __always_inline __u64 mix(__u64 hash, __u64 value)
{
	hash ^= value;
	hash *= 0x9e3779b97f4a7c15ULL;
	return hash ^ (hash >> 29);
}

/* The first payload bytes of a UDP datagram, at most 16; what is behind a shorter one is not its own. */
static __always_inline __u64 fingerprint_udp(__u64 hash, const __u8 *l4)
{
	__u32 bytes = __builtin_bswap16(*(__u16 *)(l4 + 4)) - 8;
	__u64 first = *(__u32 *)(l4 + 8) | (__u64) * (__u32 *)(l4 + 12) << 32;
	__u64 second = *(__u32 *)(l4 + 16) | (__u64) * (__u32 *)(l4 + 20) << 32;

	if (bytes < 8) {
		first &= (1ULL << bytes * 8) - 1;
		second = 0;
	} else if (bytes < 16) {
		second &= (1ULL << (bytes - 8) * 8) - 1;
	}
	return mix(mix(hash, first), second);
}

/* The transport part: TCP's seq and ack, UDP's payload, ICMP's sequence number. `l4` points into `struct
 * header_bytes`. Ports, addresses, ttl and checksums are left out: NAT and forwarding change them. */
static __always_inline __u64 fingerprint_l4(__u64 hash, __u8 protocol, const __u8 *l4)
{
	if (protocol == 6)
		return mix(hash, *(__u32 *)(l4 + 4) | (__u64) * (__u32 *)(l4 + 8) << 32);
	if (protocol == 17)
		return fingerprint_udp(hash, l4);
	if (protocol == 1 || protocol == 58)
		return mix(hash, *(__u16 *)(l4 + 6));
	return hash;
}

/* What identifies a packet in its network header at `at` and behind; 0 when there is no IP header. A function of
 * its own, as others here: the filters' frames need the room on the stack. */
static __noinline __u64 fingerprint(unsigned char *head, __u32 at)
{
	struct header_bytes header;
	const __u8 *bytes = (const __u8 *)&header;
	__u64 hash;

	if (!at || bpf_probe_read_kernel(&header, sizeof(header), head + at))
		return 0;
	if (bytes[0] >> 4 == 4) {
		/* id, fragment offset, protocol */
		hash = mix(4, *(__u32 *)(bytes + 4) | (__u64)bytes[9] << 32);
		return (bytes[0] == 0x45 ? fingerprint_l4(hash, bytes[9], bytes + 20) : hash) | 1;
	}
	if (bytes[0] >> 4 == 6) {
		/* flow label, next header */
		hash = mix(6, (*(__u32 *)bytes & 0xffff0f00) | (__u64)bytes[6] << 32);
		return fingerprint_l4(hash, bytes[6], bytes + 40) | 1;
	}
	return 0;
}

static __always_inline bool has_ip_header(const struct sk_buff *skb)
{
	__u16 protocol = skb->protocol;

	/* Before the IP layer wrote its header, skb->protocol isn't set or the header has no place yet. */
	return (protocol == IPV4_BE || protocol == IPV6_BE) && skb->network_header &&
	       skb->network_header != 0xffff && skb->network_header + 20U <= skb->tail;
}

static __always_inline void take_fingerprint(struct context *c, struct tracked *t)
{
	if (!verify_identity || !has_ip_header(c->skb_view))
		return;
	t->network_at = c->skb_view->network_header;
	t->fingerprint = fingerprint(c->head, t->network_at);
}

/* What XDP has seen last: its memory may be an skb's now, or have been given to another packet unseen. Where nothing
 * was taken to tell by, XDP has let the packet pass. */
static __always_inline bool is_same_frame(struct context *c, const struct tracked *t)
{
	return !t->fingerprint || fingerprint(c->head, t->network_at) == t->fingerprint;
}

/* Headers that are pushed or pulled leave the bytes of the old one where they were, so they are compared in the
 * place where they were taken. A new packet in the same memory has other bytes there. */
static __always_inline bool is_same_packet(struct context *c, struct tracked *t)
{
	if (frames_on && t->frame) {
		t->frame = 0;
		return is_same_frame(c, t);
	}
	if (!verify_identity)
		return true;
	if (!t->fingerprint) {
		take_fingerprint(c, t);
		return true;
	}
	return fingerprint(c->head, t->network_at) == t->fingerprint;
}

/* Where moves of the data can't be seen, a known skb with unknown data that carries the same header is the same
 * packet. `key` of that entry is the skb. */
static __always_inline bool is_same_moved(struct context *c, struct tracked *t)
{
	if (!verify_identity)
		return true;
	return t->fingerprint && has_ip_header(c->skb_view) &&
	       fingerprint(c->head, c->skb_view->network_header) == t->fingerprint;
}

/* Nothing waits so long on its way; its end was missed, and the memory is another packet's now. */
#define MAX_AGE_NS 60000000000ULL

/* A packet whose data isn't known may be one whose data is moving: then it is known under its skb. */
static __noinline struct tracked *find_moved(struct context *c)
{
	__u64 key = (__u64)c->skb;
	struct tracked *t;

	t = bpf_map_lookup_elem(&tracking, &key);
	if (!t || now(c) - t->last_seen_ns > MAX_AGE_NS || !is_same_moved(c, t))
		return NULL;
	if (verify_identity)
		t->network_at = c->skb_view->network_header;
	key = (__u64)c->head;
	if (bpf_map_update_elem(&tracking, &key, t, BPF_ANY)) {
		count(&c->counters->tracking_full);
		return NULL;
	}
	if (!verify_identity) {
		key = (__u64)c->skb;
		bpf_map_delete_elem(&tracking, &key);
		key = (__u64)c->head;
	}
	return bpf_map_lookup_elem(&tracking, &key);
}

static __always_inline struct tracked *find_tracked(struct context *c)
{
	__u64 head = (__u64)c->head;
	struct tracked *t;

	t = bpf_map_lookup_elem(&tracking, &head);
	if (!t)
		return find_moved(c);
	if (now(c) - t->last_seen_ns < MAX_AGE_NS && is_same_packet(c, t))
		return t;
	bpf_map_delete_elem(&tracking, &head);
	return NULL;
}

static __noinline struct tracked *track_from_here(struct context *c, __u64 fingerprint, __u32 network_at)
{
	__u64 key = (__u64)c->head;
	struct tracked *found, t = {};

	t.id.timestamp_ns = now(c);
	t.id.orig_head = key;
	t.last_seen_ns = t.id.timestamp_ns;
	t.fingerprint = fingerprint;
	t.network_at = network_at;
	/* BPF_NOEXIST: a clone on another CPU may have been first. */
	bpf_map_update_elem(&tracking, &key, &t, BPF_NOEXIST);
	if (verify_identity && fingerprint) {
		key = (__u64)c->skb;
		bpf_map_update_elem(&tracking, &key, &t, BPF_ANY);
		key = (__u64)c->head;
	}
	found = bpf_map_lookup_elem(&tracking, &key);
	if (!found)
		count(&c->counters->tracking_full);
	return found;
}

static __always_inline struct tracked *start_tracking(struct context *c)
{
	__u32 network_at = 0;
	__u64 identity = 0;

	if (verify_identity && has_ip_header(c->skb_view)) {
		network_at = c->skb_view->network_header;
		identity = fingerprint(c->head, network_at);
	}
	return track_from_here(c, identity, network_at);
}

/* What is known of a packet, whether its data is where it was or moving. */
static __always_inline struct tracked *find_packet(struct sk_buff *skb)
{
	__u64 key = (__u64)kread(skb, head);
	struct tracked *t = bpf_map_lookup_elem(&tracking, &key);

	if (t)
		return t;
	key = (__u64)skb;
	return bpf_map_lookup_elem(&tracking, &key);
}

static __always_inline void forget(__u64 key)
{
	/* Most freed memory isn't tracked: look without the bucket's lock first. */
	if (bpf_map_lookup_elem(&tracking, &key))
		bpf_map_delete_elem(&tracking, &key);
}

/* Is this the last reference to the data? Low half of dataref: references to the whole (include/linux/skbuff.h). */
static __always_inline bool is_last_reference(struct context *c)
{
	struct skb_shared_info *info = (void *)c->head + c->skb_view->end;

	if (!BPF_CORE_READ_BITFIELD(c->skb_view, cloned))
		return true;
	return (kread(info, dataref.counter) & 0xffff) == 1;
}

static __always_inline void track_free(struct context *c)
{
	__u64 head = (__u64)c->head, skb = (__u64)c->skb;
	__u32 flags = c->probe->flags;

	if (flags & PROBE_FREE_IF_STOLEN && !(argument(c, c->probe->other_at) & 0xff))
		return;
	if (flags & (PROBE_FREE_SHARED | PROBE_RELEASE)) {
		if (flags & PROBE_FREE_SHARED)
			forget(skb);
		if (is_last_reference(c))
			forget(head);
		return;
	}
	/* pskb_expand_head() frees the old data while what is known of the packet waits under the skb; so that is
	 * only forgotten with data that isn't known, of an skb that wasn't seen again. */
	if (bpf_map_lookup_elem(&tracking, &head))
		bpf_map_delete_elem(&tracking, &head);
	else
		forget(skb);
}

/* pskb_expand_head() gives the skb new data and frees the old, if nobody else has it. Keep what is known of it
 * under the skb's own address until the function returns or, where that can't be seen, until the skb is. */
static __always_inline void track_expand(struct context *c, const struct tracked *t)
{
	__u64 skb = (__u64)c->skb;

	if (bpf_map_update_elem(&tracking, &skb, t, BPF_ANY))
		count(&c->counters->tracking_full);
}

/* ... and where its return is seen, put it where it belongs. */
static __always_inline void track_expanded(struct context *c)
{
	__u64 head = (__u64)c->head, skb = (__u64)c->skb;
	struct tracked *t, moved;

	t = bpf_map_lookup_elem(&tracking, &skb);
	if (!t)
		return;
	moved = *t;
	if (verify_identity)
		moved.network_at = c->skb_view->network_header;
	else
		bpf_map_delete_elem(&tracking, &skb);
	/* When it failed, the data is where it was. */
	if (!(int)argument(c, c->probe->result_at) && bpf_map_update_elem(&tracking, &head, &moved, BPF_ANY))
		count(&c->counters->tracking_full);
}

/* A packet that XDP is to see is copied where its memory doesn't suit, and its skb goes. What is known of it is kept
 * meanwhile under the address of the caller's pointer to it. */
static __always_inline struct sk_buff *skb_at_pointer(__u64 pointer)
{
	struct sk_buff *skb = NULL;

	bpf_probe_read_kernel(&skb, sizeof(skb), (void *)pointer);
	return skb;
}

static __always_inline void track_copy(struct context *c)
{
	__u64 pointer = argument(c, c->probe->other_at);
	struct sk_buff *skb = skb_at_pointer(pointer);
	struct tracked *t = is_kernel_address(skb) ? find_packet(skb) : NULL;

	if (!t)
		forget(pointer); /* of a call whose return was missed */
	else if (bpf_map_update_elem(&tracking, &pointer, t, BPF_ANY))
		count(&c->counters->tracking_full);
}

static __always_inline void track_copied(struct context *c)
{
	__u64 pointer = argument(c, c->probe->other_at), head;
	struct tracked *t = bpf_map_lookup_elem(&tracking, &pointer), moved;
	struct sk_buff *skb;

	if (!t)
		return;
	moved = *t;
	bpf_map_delete_elem(&tracking, &pointer);
	skb = skb_at_pointer(pointer);
	if (!is_kernel_address(skb))
		return;
	head = (__u64)kread(skb, head);
	if (bpf_map_update_elem(&tracking, &head, &moved, BPF_ANY))
		count(&c->counters->tracking_full);
}
