"""A plan as facts for JSON and as text, for `fyke collect --dry-run`."""

from __future__ import annotations

from typing import Any

from fyke.capture.filters import Filters
from fyke.capture.layout import RecordLayout
from fyke.capture.plan import Plan

# struct tracked, its key and the kernel's own fields of a hash element, rounded up; frames of a stack;
# struct call, in a hash, too.
_TRACKED_BYTES, _STACK_BYTES, _CALL_BYTES = 128, 127 * 8, 256


def plan_facts(plan: Plan, layout: RecordLayout) -> dict[str, Any]:
    """Return what a plan will do, as values for JSON; sizes in bytes."""
    return {
        "collectors": [c.name for c in plan.collectors],
        "probes": [
            {
                "symbol": p.symbol,
                "mechanism": p.mechanism,
                "asked": list(p.asked),
                "sections": sorted(p.sections, key=lambda s: layout.bits[s]),
                "arguments": dict(p.arguments),
                "flags": sorted(p.flags),
            }
            for p in plan.probes
        ],
        "choices": dict(plan.choices),
        "adds": {"mechanism": plan.adds, "max_probes": plan.max_probes} if plan.adds else None,
        "filters": _filters(plan.filters),
        "record": {
            "bytes": layout.record_bytes,
            "sections": [{"name": name, "offset": offset} for name, offset in layout.offsets.items()],
        },
        "memory": {
            "rings": sum(plan.ring_sizes),
            "ring": plan.ring_bytes,
            "cpus": len(plan.online),
            "records_per_ring": plan.ring_bytes // (layout.record_bytes + 8),
            "tracking": plan.tracking_entries * _TRACKED_BYTES if plan.tracking else 0,
            "stacks": plan.stack_entries * _STACK_BYTES if plan.any_stack else 0,
            "calls": plan.call_entries * _CALL_BYTES if plan.any_return else 0,
        },
        "notes": list(plan.notes),
    }


def _filters(filters: Filters) -> dict[str, Any]:
    """Return each filter's expression and, of the field filter, what it starts from."""
    facts: dict[str, Any] = {}
    for name, one in (("packet", filters.packet), ("inner", filters.inner)):
        if one is not None:
            facts[name] = {"expression": one.text, "without_link_layer": one.raw is not None}
    if filters.fields is not None:
        facts["fields"] = {"expression": str(filters.fields.expr), "roots": list(filters.fields.roots)}
    return facts


def plan_text(facts: dict[str, Any]) -> str:
    """Return the same as text."""
    lines = [f"collectors: {', '.join(facts['collectors'])}", "probes:"]
    for probe in facts["probes"]:
        takes = ", ".join(probe["sections"]) or "nothing recorded"
        flags = f" [{', '.join(f.lower() for f in probe['flags'])}]" if probe["flags"] else ""
        why = ", ".join(probe["asked"]) or "for skb-tracking"
        lines.append(f"  {probe['mechanism']} {probe['symbol']}{flags} ({why}): {takes}")
    for mechanism, why in facts["choices"].items():
        lines.append(f"functions without a type: {mechanism}: {why}")
    if adds := facts["adds"]:
        lines.append(
            f"adds: functions on the way of packets that match, by {adds['mechanism']}, as they are found, "
            f"up to {adds['max_probes']} probes in all"
        )
    for name, one in facts["filters"].items():
        lines.append(f"{name.rstrip('s')} filter: {' '.join(one['expression'].split())}")
    record, memory = facts["record"], facts["memory"]
    places = ", ".join(f"{s['name']} at {s['offset']}" for s in record["sections"])
    lines.append(f"record: {record['bytes']} bytes: header at 0, {places}")
    lines.append(
        f"memory: {_size(memory['rings'])} in {memory['cpus']} ring(s), each with room for "
        f"{memory['records_per_ring']} records; {_size(memory['tracking'])} for tracking; "
        f"{_size(memory['stacks'])} for stacks"
        + (f"; {_size(memory['calls'])} for calls until they return" if memory["calls"] else "")
    )
    return "\n".join(lines + [f"note: {note}" for note in facts["notes"]])


def _size(count: int) -> str:
    return f"{count / (1 << 20):.1f} MiB"
