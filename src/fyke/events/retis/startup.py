"""The startup event at the head of a Retis file <-> the facts of a collection."""

from __future__ import annotations

import dataclasses
from typing import Any

from fyke.events.facts import Facts
from fyke.events.retis.mapping import OWN, STARTUP
from fyke.events.retis.versions import WRITTEN

RETIS_VERSION = "retis_version"  # in Facts.extra: the file was made by that version of Retis
_NS = 1_000_000_000


def facts_of(event: dict[str, Any], order: str) -> Facts:
    """Return the facts in a startup event. Raises ValueError when it isn't one, or isn't as it should be.

    order: `journey` when the file is sorted. For a collection by Retis, `version` is Retis' and
    `extra["retis_version"]` says so; a file of ours gives back the facts it was made from.
    """
    startup = event.get(STARTUP)
    if not isinstance(startup, dict):
        raise ValueError("there is no startup event")
    if OWN in startup:
        return dataclasses.replace(Facts.from_dict(startup[OWN]), order=order)
    version = startup.get(RETIS_VERSION)
    machine = startup.get("machine", {})
    clock = startup.get("clock_monotonic_offset", {})
    split = startup.get("split_file") or {}
    if not all(isinstance(part, dict) for part in (event.get("common"), machine, clock, split)):
        raise ValueError("the startup event is garbled")
    seconds, nanoseconds = clock.get("sec", 0), clock.get("nsec", 0)
    if type(seconds) is not int or type(nanoseconds) is not int:
        raise ValueError("the startup event's clock is garbled")
    facts = {
        "version": version,
        "cmdline": startup.get("cmdline", ""),
        "timestamp_ns": event["common"].get("timestamp"),
        "clock_monotonic_offset_ns": seconds * _NS + nanoseconds,
        "kernel_release": machine.get("kernel_release", ""),
        "kernel_version": machine.get("kernel_version", ""),
        "hardware_name": machine.get("hardware_name", ""),
        "order": order,
        "split_id": split.get("id"),
        "split_limit_bytes": _limit(split),
        RETIS_VERSION: version,
    }
    return Facts.from_dict(facts)


def startup_event(facts: Facts) -> dict[str, Any]:
    """Return the startup event for a collection, our own facts beside Retis'."""
    seconds, nanoseconds = divmod(facts.clock_monotonic_offset_ns, _NS)
    startup: dict[str, Any] = {
        RETIS_VERSION: WRITTEN,
        "cmdline": facts.cmdline,
        "clock_monotonic_offset": {"sec": seconds, "nsec": nanoseconds},
        "machine": {
            "kernel_release": facts.kernel_release,
            "kernel_version": facts.kernel_version,
            "hardware_name": facts.hardware_name,
        },
    }
    if facts.split_id is not None:
        policy = {"kind": "size", "limit": facts.split_limit_bytes or 0}
        startup["split_file"] = {"id": facts.split_id, "policy": policy}
    startup[OWN] = dataclasses.asdict(facts)
    return {"common": {"timestamp": facts.timestamp_ns}, STARTUP: startup}


def _limit(split: dict[str, Any]) -> Any:
    policy = split.get("policy")
    return policy.get("limit") if isinstance(policy, dict) else None
