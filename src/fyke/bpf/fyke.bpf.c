// SPDX-License-Identifier: GPL-2.0
/*
 * Everything that runs in the kernel, as one object: the entries of each mechanism around the one chain. What a
 * collection doesn't use is switched off in rodata, and the verifier removes it.
 */
#include "probes/raw_tracepoint.bpf.h"
#include "probes/kprobe.bpf.h"
#include "probes/kretprobe.bpf.h"
#include "probes/fentry.bpf.h"
#include "probes/fexit.bpf.h"
#include "probes/xdp.bpf.h"
#include "probes/exits.bpf.h"
#include "probes/connections.bpf.h"
#include "probes/ovs.bpf.h"
#include "probes/uprobe.bpf.h"
#include "probes/ovs_user.bpf.h"

char LICENSE[] SEC("license") = "GPL";
