"""`fyke collect --save-profile`: what --probe-stack found, written as a profile of the user's."""

from __future__ import annotations

import argparse
import logging
import os
from typing import TYPE_CHECKING, Any

from fyke.cli.folders import own_folder
from fyke.errors import UsageError
from fyke.events.escape import printable

if TYPE_CHECKING:
    from fyke.capture.session import Session

log = logging.getLogger(__name__)

# Options of the line that say what is collected, and so belong to the profile. A process is gone next time.
_KEPT = (
    "collectors",
    "filter_inner",
    "filter_meta",
    "netns",
    "netif",
    "skb_sections",
    "nft_verdicts",
    "ct_events",
    "snaplen",
    "stack",
)


def check_save(args: argparse.Namespace) -> None:
    """Raise UsageError where what is found could not be saved: better now than at the end."""
    from fyke.cli.profile_save import others_of
    from fyke.profiles.save import check_name, path_of

    if not args.probe_stack:
        raise UsageError("--save-profile goes with --probe-stack", "`fyke profile save` saves options")
    check_name(args.save_profile)
    others_of(args.save_profile, ())
    path = path_of(own_folder("profiles"), args.save_profile)
    if os.path.lexists(path):
        raise UsageError(f"there is a file {printable(path)} already", "choose another name, or remove it")


def save_found(args: argparse.Namespace, session: Session) -> None:
    """Write the options that say what is collected, and the functions that were found in place of
    --probe-stack. Raises UsageError and RunError."""
    from fyke.cli.profiled import command_of
    from fyke.profiles.save import profile_text, save

    probes = session.added
    if not probes:
        log.warning("no function was found, so profile %s is not saved", args.save_profile)
        return
    command = command_of("collect")
    given = {"probe": [*_asked(args, session), *probes], **_kept(args)}
    release = os.uname().release
    about = f"Found by --probe-stack on Linux {release}: {len(probes)} functions"
    text = profile_text(args.save_profile, about, "collect", command.values(given))
    path = save(own_folder("profiles"), args.save_profile, text, replace=False)
    name = args.save_profile
    log.info("saved %s with %d functions: fyke -p %s collect", printable(path), len(probes), name)


def _asked(args: argparse.Namespace, session: Session) -> list[str]:
    """Return what was probed from the start by the user's choice, or for want of one."""
    from fyke.capture.autoprobe import SEEDS

    usual = any("default" in probe.asked for probe in session.plan.probes)
    return [*(args.probe or ()), *(SEEDS if usual else ())]


def _kept(args: argparse.Namespace) -> dict[str, Any]:
    from fyke.cli.filtering import filter_text

    given = {dest: value for dest in _KEPT if (value := getattr(args, dest))}
    if (text := filter_text(args)) is not None:
        given["filter_packet"] = text
    return given
