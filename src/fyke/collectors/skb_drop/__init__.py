"""skb-drop: why a packet was dropped.

The reason given to `kfree_skb`, by the name the running kernel gives it, with the subsystem that owns
the reason when it isn't the core. Adds the probe `tp:skb:kfree_skb`.
"""

from fyke.collectors.api import Collector
from fyke.collectors.kernel_view import KernelView
from fyke.collectors.skb_drop.reasons import reason_name, subsystem_name
from fyke.events.column import Column, Section

SECTION = Section(
    "skb_drop",
    "Why the packet was dropped.",
    (
        Column(
            "subsys",
            "string",
            "Owner of the reason, null for the core",
            source="reason",
            label=subsystem_name,
        ),
        Column(
            "drop_reason",
            "string",
            "The kernel's name for it, without prefix",
            source="reason",
            label=reason_name,
        ),
    ),
)

# The core's enum, and those of subsystems that hand their own to functions of theirs.
REASONS = (
    "enum skb_drop_reason",
    "enum mac80211_drop_reason",
    "enum ovs_drop_reason",
    "enum qdisc_drop_reason",
)


def _notes(kernel: KernelView) -> tuple[str, ...]:
    # Linux kernel commit c504e5c2f964 ("net: skb: introduce kfree_skb_reason()") (in v5.17).
    if kernel.has_type("enum", "skb_drop_reason"):
        return ()
    return ("skb-drop: this kernel gives no drop reasons; drops are shown as NOT_SPECIFIED",)


COLLECTOR = Collector(
    "skb-drop",
    (SECTION,),
    takes=REASONS,
    probes=lambda _kernel: ("tp:skb:kfree_skb",),
    notes=_notes,
)
