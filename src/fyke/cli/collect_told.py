"""What fyke collect says of itself on stderr: at the start, and in its line of truth at the end."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fyke.capture.plan import Plan
    from fyke.capture.run import Run
    from fyke.capture.session import Session

log = logging.getLogger(__name__)


def tell_started(plan: Plan, missing: dict[str, str], told: Sequence[str]) -> None:
    """Say what is collected where, and what could not be probed. told: more lines."""
    for note in plan.notes:
        log.info(note)
    asked = [p.symbol for p in plan.probes if not p.internal]
    left_out = sorted(missing.keys() & set(asked))
    log.info(
        "Collector(s) started: %s; %d probe(s) attached",
        ", ".join(c.name for c in plan.collectors),
        len(asked) - len(left_out),
    )
    if left_out:
        names = ", ".join(left_out[:5]) + (" ..." if len(left_out) > 5 else "")
        log.warning("%d functions of a pattern can't be probed: %s", len(left_out), names)
    for line in told:
        log.info("%s", line)


def tell_legacy(plan: Plan, netns: str | None) -> None:
    """Say which rules nft can't see, where somebody may look for them."""
    if all(c.name != "nft" for c in plan.collectors):
        return
    from fyke.filters.fields.everyday import resolve_netns
    from fyke.kernel.xtables import legacy_tables

    inode = resolve_netns("/proc/self/ns/net" if netns is None else netns)
    if tables := legacy_tables(inode):
        log.info(
            "nft doesn't see the rules of iptables-legacy, which is in use (tables %s); it does those of "
            "iptables-nft",
            ", ".join(tables),
        )


def tell_end(run: Run) -> None:
    """Say one line of truth: written, lost, hit and never hit."""
    if run.command and run.command.failure:
        log.warning("the command %s", run.command.failure)
    session = run.session
    totals = session.loss.totals
    lost = session.loss.lost_events
    words = [f"{run.events} event(s) written", f"{lost} lost"]
    if totals:
        causes = ", ".join(f"{cause} {count}" for cause, count in sorted(totals.items()))
        places = zip(session.plan.probes, session.loss.lost(), strict=True)
        by_probe = ", ".join(f"{p.symbol} {count}" for p, count in places if count)
        words[-1] += f" ({causes}; by probe: {by_probe})" if by_probe else f" ({causes})"
    asked = [
        (p, hits)
        for p, hits in zip(session.plan.probes, session.loss.hits(), strict=True)
        if not p.internal and p.symbol not in session.missing
    ]
    never = [p.symbol for p, hits in asked if not hits]
    words.append(f"{len(asked) - len(never)} of {len(asked)} probe(s) hit")
    if never:
        words.append("never hit: " + ", ".join(never[:8]) + (" ..." if len(never) > 8 else ""))
    log.info("%s", "; ".join(words))
    _tell_unjudged(session)
    if any(not hits and "nft" in p.asked for p, hits in asked):
        from fyke.capture.trace_table import UNTRACED

        log.info(UNTRACED)


def _tell_unjudged(session: Session) -> None:
    """Say which packets a filter could not judge, and where; they are not in the file."""
    symbols = [p.symbol for p in session.plan.probes]
    for counts, what in (
        (session.loss.unreadable(), "what the filter looks at is not in the packet's linear area"),
        (session.loss.no_link_layer(), "the filter looks at link-layer headers, and they have none yet"),
    ):
        if total := sum(counts):
            places = ", ".join(f"{symbol} {n}" for symbol, n in zip(symbols, counts, strict=True) if n)
            log.warning("%d packet(s) did not pass because %s (by probe: %s)", total, what, places)
