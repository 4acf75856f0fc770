"""`fyke collect` alone: what it shows, said in words, and nothing that feeds on itself."""

from __future__ import annotations

import argparse
import ipaddress
from collections.abc import Callable


def is_alone(args: argparse.Namespace) -> bool:
    """Say whether no option at all was given, by the command line or by a profile."""
    from fyke.cli.main import parser_of

    usual = vars(parser_of("collect").parse_args([]))
    return not hasattr(args, "expanded") and all(getattr(args, name) == usual[name] for name in usual)


def begin(args: argparse.Namespace, variable: Callable[[str], str | None], *, terminal: bool) -> list[str]:
    """Return what to say of what is shown, and of what to try next.

    On a terminal over SSH, that connection is left out: its packets carry what is printed about its packets.
    variable: returns one of the environment.
    """
    told = ["no options: each packet that enters or leaves a device is shown, and each drop; Ctrl-C ends it"]
    if terminal and (own := ssh_connection(variable("SSH_CONNECTION") or "")):
        address, port = own
        args.filter_packet = f"not (host {address} and tcp port {port})"
        told.append(f"this terminal's own connection is left out (-f '{args.filter_packet}')")
    told.append(
        "choose packets with -f, e.g. -f icmp; record with -o; `fyke profile list` has more to look at, "
        "e.g. fyke -p dropmon collect"
    )
    return told


def ssh_connection(text: str) -> tuple[str, int] | None:
    """Return the client's address and port of SSH_CONNECTION, None when it says nothing that can be used."""
    words = text.split()
    try:
        address, port = ipaddress.ip_address(words[0].partition("%")[0]), int(words[1])
    except (IndexError, ValueError):
        return None
    return (str(address), port) if 0 < port < 1 << 16 else None
