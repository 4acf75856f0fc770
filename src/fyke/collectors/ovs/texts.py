"""Texts of what Open vSwitch does, which Retis' events in Python share."""

from __future__ import annotations

from fyke.collectors.ovs.sections import COMMANDS
from fyke.events.escape import printable
from fyke.events.ovs import CT_ADDRESSES, CT_NAT, CT_PORTS

Range = tuple[object, object]

_TUNNEL_SET = "tunnel_set"  # Retis' word for `set`, which it takes for the tunnel's
# Flags of the action ct that are told, in the order of the text.
_CT_FLAGS = ((0, "commit"), (1, "force"), (10, "persistent"), (9, "hash"), (11, "random"))


def command(number: int | None) -> str:
    """Return why there is an upcall, in parentheses."""
    return f" ({COMMANDS[number]})" if number is not None and 0 <= number < len(COMMANDS) else ""


def nat(flags: int, direction: str | None, addresses: Range, ports: Range) -> str:
    """Return what NAT an action ct does; the ends of ranges are None where there is none."""
    if not flags & CT_NAT:
        return ""
    if direction is None:
        return " nat"
    address = _range(*addresses) if flags & CT_ADDRESSES else ""
    port = _range(*ports) if flags & CT_PORTS else ""
    return f" nat({printable(direction)}{address and f'={address}'}{port and f':{port}'})"


def _range(low: object, high: object) -> str:
    if low is None or high is None:
        return ""
    return printable(str(low)) + ("" if low == high else f"-{printable(str(high))}")


def ct_flags(flags: int) -> str:
    """Return the names of an action ct's flags."""
    names = ",".join(name for bit, name in _CT_FLAGS if flags >> bit & 1)
    return f" {names}" if names else ""


def plain_action(name: str | None, arguments: str | None = None) -> str:
    """Return an action that isn't told in a way of its own."""
    if name == "set" and arguments is None:
        return _TUNNEL_SET
    text = "unspec" if name is None else printable(name)
    return text if arguments is None else f"{text} {printable(arguments)}"


def flow_lines(text: str) -> list[str]:
    """Return text of OVS, safe to show, in its lines."""
    return [printable(line) for line in text.split("\n")]
