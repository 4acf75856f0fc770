"""Names of drop reasons, from the running kernel's own enums.

A reason's upper 16 bits name the subsystem that owns it (enum skb_drop_reason_subsys), the lower ones
are the reason. Linux kernel commit 071c0fc6fb91 ("net: extend drop reasons for multiple subsystems")
(in v6.4).
"""

from __future__ import annotations

from fyke.events.column import Names

_PREFIXES = ("SKB_DROP_REASON_", "SKB_", "DROP_REASON_")
_SUBSYS_PREFIX = "SKB_DROP_REASON_SUBSYS_"
# The enum that holds a subsystem's reasons; its values carry the subsystem in their upper bits.
_ENUMS = ("skb_drop_reason", "mac80211_drop_reason", "ovs_drop_reason", "qdisc_drop_reason")


def subsystem_name(raw: int, names: Names) -> str | None:
    """Return the subsystem of a reason (`openvswitch`), None for the core."""
    subsys = raw >> 16
    if not subsys:
        return None
    name = names.enum("skb_drop_reason_subsys").get(subsys, str(subsys))
    return name.removeprefix(_SUBSYS_PREFIX).lower()


def reason_name(raw: int, names: Names) -> str:
    """Return the name of a reason without its prefix (`NO_SOCKET`), or its number when it has none."""
    if not names.enum("skb_drop_reason"):
        return "NOT_SPECIFIED"
    for enum in _ENUMS:
        name = names.enum(enum).get(raw)
        if name is not None:
            return _strip(name)
    return str(raw & 0xFFFF)


def _strip(name: str) -> str:
    for prefix in _PREFIXES:
        if name.startswith(prefix):
            return name.removeprefix(prefix)
    return name
