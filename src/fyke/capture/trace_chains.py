"""Where nftables first sees a packet, and the chains that have it traced from there on."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fyke.kernel.nfnetlink import Chain

if TYPE_CHECKING:
    from fyke.filters.pcap.nft import Rule

_FIRST = -(1 << 31)  # NF_IP_PRI_FIRST
_TRACE = "meta nftrace set 1 accept"
_DEVICE = re.compile(rb"[\w.@+-]+")  # others have names that nft's language can't say
# Hooks by number: enum nf_dev_hooks, and the one of inet that is a device's (NF_INET_INGRESS).
_DEVICE_HOOKS = {"ingress": {("netdev", 0), ("inet", 5)}, "egress": {("netdev", 1)}}
_HOOKS = {"inet": ("prerouting", "output"), "bridge": ("prerouting", "output"), "arp": ("input", "output")}


@dataclass(frozen=True, slots=True)
class Hook:
    """A place for a chain. where: as nft says it."""

    family: str
    name: str
    where: str


ALWAYS = tuple(Hook("inet", name, name) for name in _HOOKS["inet"])
"""What comes in, and what is sent from here: all other chains of ip, ip6 and inet come after these."""


def first_hooks(chains: Iterable[Chain]) -> tuple[Hook, ...]:
    """Return where packets must be traced so that all these chains are seen: other families where used."""
    base = [chain for chain in chains if chain.hook is not None]
    used = {chain.family for chain in base}
    found = [*ALWAYS]
    for family in ("bridge", "arp"):
        if family in used:
            found += [Hook(family, name, name) for name in _HOOKS[family]]
    for name, numbers in _DEVICE_HOOKS.items():
        devices = {
            d for c in base if (c.family, c.hook) in numbers for d in c.devices if _DEVICE.fullmatch(d)
        }
        if devices:
            quoted = ", ".join(f'"{device.decode()}"' for device in sorted(devices))
            found.append(Hook("netdev", name, f"{name} devices = {{ {quoted} }}"))
    return tuple(found)


def families(hooks: Iterable[Hook]) -> tuple[str, ...]:
    """Return the families that need a table."""
    return tuple(dict.fromkeys(hook.family for hook in hooks))


def commands(table: str, hooks: Sequence[Hook], rules: Sequence[Rule], *, owner: bool) -> str:
    """Return what makes the tables, in nft's language; a table for each family, all of this name."""
    lines = []
    for family in families(hooks):
        lines += [f"table {family} {table} {{", *(["flags owner;"] if owner else [])]
        for hook in hooks:
            if hook.family == family:
                lines += [f"chain {hook.name} {{", f"type filter hook {hook.where} priority {_FIRST};"]
                lines += [*_traced(family, rules), "}"]
        lines.append("}")
    return "\n".join([*lines, ""])


def _traced(family: str, rules: Sequence[Rule]) -> list[str]:
    """Return rules for a chain. A filter's are for packets of IP; of others all are traced."""
    if family == "arp":
        return [_TRACE]
    said = [" ".join([*map(str, rule), _TRACE]) for rule in rules]
    if family == "inet" or () in rules:
        return said
    return [f"meta protocol != {{ ip, ip6 }} {_TRACE}", *said]
