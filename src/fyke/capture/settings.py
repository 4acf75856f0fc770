"""A plan, written into the BPF object: the constants of its programs, and what they know of each probe."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

import numpy as np

from fyke.capture.arguments import ARGUMENTS, context_offset
from fyke.capture.filters import FilterCode
from fyke.capture.getters import ENDS
from fyke.capture.kernel import Kernel
from fyke.capture.layout import RecordLayout, struct_dtype
from fyke.capture.plan import Plan
from fyke.capture.planned import PlannedProbe
from fyke.collectors.api import SKB
from fyke.collectors.nft.verdicts import mask as nft_verdict_mask
from fyke.kernel.btf import Btf
from fyke.kernel.machine import tick_ns

_ROOT_SKB = -2  # ROOT_SKB in core/probe.bpf.h


def set_rodata(
    data: memoryview,
    btf: Btf,
    plan: Plan,
    layout: RecordLayout,
    kernel: Kernel,
    code: FilterCode,
    cookie: Mapping[str, bool],
) -> None:
    """Write what the programs take for constant, and the verifier removes code by, into `.rodata`.

    btf: of the object. cookie: mechanism -> whether the attach cookie carries the number of the probe.
    """
    variables = btf.variables(".rodata")

    def put(name: str, form: str, value: int, index: int = 0) -> None:
        struct.pack_into(f"={form}", data, variables[name].offset + index * struct.calcsize(form), value)

    for section, offset in layout.offsets.items():
        put("section_at", "H", offset, layout.bits[section])
    put("record_bytes", "I", layout.record_bytes)
    put("snaplen", "I", plan.snaplen)
    put("cpus", "I", plan.cpus)
    put("ring_bytes", "I", plan.ring_bytes)
    put("direct_reads", "?", kernel.features.has("bpf_rdonly_cast"))
    put("tracking_on", "?", plan.tracking)
    put("verify_identity", "?", plan.verify_identity)
    put("frames_on", "?", any(p.takes_frames for p in plan.probes))
    for end in ENDS:
        put(f"{end}_steps_on", "?", bool(plan.adds) or any(end in p.steps for p in plan.probes))
    put("nft_verdicts", "I", nft_verdict_mask(plan.nft_verdicts))
    put("ovs_track", "?", plan.ovs_track)
    put("note_connections", "?", plan.connections.noted)
    put("connections_netns", "I", plan.connections.netns)
    put("any_stack", "?", plan.any_stack)
    put("has_drop_reasons", "?", kernel.has_type("enum", "skb_drop_reason"))
    put("tick_ns", "I", tick_ns())
    put("raw_tracepoint_cookie", "?", cookie["raw_tracepoint"])
    put("kprobe_cookie", "?", cookie["kprobe"])
    if plan.user_task:
        put("user_pid" if plan.user_task.is_thread else "user_tgid", "I", plan.user_task.number)
    filters = plan.filters
    for slot in code.slots:
        put(f"{slot}_on", "?", True)
    put("filter_sees_vlan", "?", filters.packet is not None and filters.packet.sees_vlan)
    put("packet_filter_head", "I", code.packet_head_bytes)
    put("inner_filter_head", "I", code.inner_head_bytes)
    put("field_roots", "I", len(filters.roots))
    put("fields_at_return", "?", filters.fields is not None and filters.fields.uses_result)
    exits = {name: value for value, name in btf.enum("exit_id").items()}
    for number, probe in enumerate(plan.probes):
        if probe.exit:
            put("exit_probe", "I", number, exits[f"EXIT_{probe.exit}"])


def probe_config(
    probe: PlannedProbe, btf: Btf, layout: RecordLayout, roots: Sequence[str], machine: str
) -> bytes:
    """Return `struct probe` of a probe. roots: what the field filter begins at. machine: as uname has it."""
    config = np.zeros((), struct_dtype(btf, "probe"))
    config["sections"] = sum(1 << layout.bits[s] for s in probe.sections)
    flags = {name: value for value, name in btf.enum("probe_flags").items()}
    config["flags"] = sum(flags[f"PROBE_{flag}"] for flag in probe.flags)
    for kind in (*ARGUMENTS, "other", "result"):
        index = probe.arguments.get(kind)
        config[f"{kind}_at"] = -1 if index is None else context_offset(probe.mechanism, index, machine)
    if probe.returns:
        config["result_unused"] = 64 - 8 * probe.returns.size
        config["result_signed"] = probe.returns.signed
    for end in ENDS:
        config[f"{end}_steps"] = -1
        config[f"{end}_steps"][: len(probe.steps.get(end, ()))] = probe.steps.get(end, ())
    config["root_at"] = -1
    for place, root in enumerate(roots):
        if probe.finds_skb and f"struct {root} *" == SKB:
            config["root_at"][place] = _ROOT_SKB
        elif root in probe.roots:
            index = probe.roots[root]
            config["root_at"][place] = context_offset(probe.mechanism, index, machine)
    return config.tobytes()
