"""What Open vSwitch's own tools say of its datapath, and what was recorded of it, held against each other."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

from live.recording import Row, packet_id
from live.vswitchd import Vswitchd

__all__ = ["Action", "Flow", "check_hits", "counters", "coverage", "flows", "runs", "split"]

Action = tuple[str, str]
"""As ovs-dpctl has it: name, and what is in parentheses."""


class Flow(NamedTuple):
    """A flow of the datapath: how many packets hit it, and its actions."""

    packets: int
    actions: list[Action]


def flows(ovs: Vswitchd) -> dict[str, Flow]:
    """Return ufid -> flow, as ovs-dpctl shows them."""
    found = {}
    for line in ovs.dpctl("dump-flows", "-m").splitlines():
        match = re.fullmatch(r"ufid:([-0-9a-f]+), .* packets:(\d+), .* actions:(.*)", line)
        assert match, line
        found[match[1]] = Flow(int(match[2]), _actions(match[3]))
    return found


def _actions(text: str) -> list[Action]:
    """Return the actions of ovs-dpctl's text."""
    parts = [re.fullmatch(r"([^(]*)\(?(.*?)\)?", part) for part in split(text)]
    return [(match[1], match[2]) for match in parts if match]


def split(text: str) -> list[str]:
    """Split at the commas that are in no parentheses."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        if letter == "," and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def counters(ovs: Vswitchd) -> Counter[str]:
    """Return what the datapath counted: hit, missed, lost."""
    match = re.search(r"lookups: hit:(\d+) missed:(\d+) lost:(\d+)", ovs.dpctl("show"))
    assert match
    return Counter(dict(zip(("hit", "missed", "lost"), map(int, match.groups()), strict=True)))


def coverage(ovs: Vswitchd, *names: str) -> Counter[str]:
    """Return what the daemon counted of itself."""
    return Counter({name: int(ovs.appctl("coverage/read-counter", name)) for name in names})


def runs(rows: Iterable[Row]) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Return each lookup that found a flow, with the actions that were then run on the packet."""
    found: list[tuple[dict[str, Any], list[dict[str, Any]]]] = []
    current: dict[tuple[int, int], list[dict[str, Any]]] = {}
    for row in rows:
        if row["ovs_lookup"]:
            current[packet_id(row)] = []
            if row["ovs_lookup"]["flow"]:
                found.append((row["ovs_lookup"], current[packet_id(row)]))
        elif row["ovs_action"] and packet_id(row) in current:
            current[packet_id(row)].append(row["ovs_action"])
    return found


def check_hits(rows: Iterable[Row], shown: dict[str, Flow]) -> None:
    """Each flow was hit as often as the datapath says, and the actions run are those that it shows."""
    found = runs(rows)
    hits = Counter(lookup["ufid"] for lookup, _ in found)
    assert hits == {ufid: flow.packets for ufid, flow in shown.items() if flow.packets}
    for lookup, actions in found:
        _check_actions(actions, shown[lookup["ufid"]].actions)


def _check_actions(actions: list[dict[str, Any]], expected: list[Action]) -> None:
    """Compare actions that were run with what ovs-dpctl shows."""
    names = [action["action"] for action in actions]
    if ("drop", "") in expected and not names:  # kernels before Linux 6.7 have no such action
        return
    assert len(names) == len(expected), (names, expected)
    for action, (name, text) in zip(actions, expected, strict=True):
        _check_action(action, name, text)


def _check_action(action: dict[str, Any], name: str, text: str) -> None:
    kind, arguments = action["action"], action["arguments"]
    if kind == "output":
        assert (action["port_name"], "") == (name, text)
        return
    assert kind.removesuffix("_masked") == name
    if kind == "recirc":
        assert int(text, 16) == action["id"]
    elif kind == "ct":
        words = split(text)
        assert f"zone={action['ct_zone']}" in words
        assert bool(action["ct_flags"] & 1) == ("commit" in words)
        nat = f"nat({action['nat_dir']}={action['nat_min_addr']})" if action["nat_dir"] else "nat"
        assert bool(action["ct_flags"] & 16) == (nat in words), (nat, words)
    elif kind in ("meter", "push_vlan", "set", "set_masked"):
        assert arguments == text
    else:
        assert (arguments or "") == text
