"""What every collection begins with, whoever starts it: checked options, the machine's CPUs, the facts."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from fyke.capture.filters import FilterOptions
from fyke.capture.flow_texts import DEFAULT_RATE
from fyke.capture.plan import DEFAULT_MAX_PROBES, DEFAULT_SNAPLEN, MAX_SNAPLEN, Options, Plan
from fyke.collectors import COLLECTORS
from fyke.collectors.nft import verdicts
from fyke.errors import Unsupported, UsageError
from fyke.events.facts import Facts
from fyke.kernel.machine import clock_monotonic_offset_ns, kernel_clock_ns, machine

log = logging.getLogger(__name__)


def checked_options(
    *,
    collectors: Iterable[str] = (),
    probes: Iterable[str] = (),
    skb_sections: Iterable[str] = (),
    nft_verdicts: Iterable[str] = (),
    ct_events: bool = False,
    ovs_enrich_flows: bool = False,
    ovs_enrich_rate: int | None = None,
    ovs_track: bool = False,
    stack: bool = False,
    probe_stack: bool = False,
    snaplen: int | None = None,
    buffer_bytes: int | None = None,
    max_probes: int | None = None,
    filters: FilterOptions | None = None,
) -> Options:
    """Return the options of a collection, None for what is to be as usual. Raises UsageError."""
    snaplen = DEFAULT_SNAPLEN if snaplen is None else snaplen
    if not 1 <= snaplen <= MAX_SNAPLEN:
        raise UsageError(f"--snaplen {snaplen} is not between 1 and {MAX_SNAPLEN}")
    if max_probes is not None and max_probes < 1:
        raise UsageError(f"--max-probes {max_probes} is less than 1")
    if ovs_enrich_rate is not None and not ovs_enrich_flows:
        raise UsageError("--ovs-enrich-rate goes with --ovs-enrich-flows")
    if ovs_enrich_rate is not None and ovs_enrich_rate < 1:
        raise UsageError(f"--ovs-enrich-rate {ovs_enrich_rate} is less than 1")
    return Options(
        collectors=tuple(collectors) or ("auto",),
        probes=tuple(probes),
        skb_sections=_skb_sections(tuple(skb_sections)),
        nft_verdicts=_nft_verdicts(tuple(nft_verdicts)),
        ct_events=ct_events,
        flow_rate=(ovs_enrich_rate or DEFAULT_RATE) if ovs_enrich_flows else 0,
        ovs_track=ovs_track,
        stack=stack,
        probe_stack=probe_stack,
        snaplen=snaplen,
        buffer_bytes=buffer_bytes,
        max_probes=max_probes or DEFAULT_MAX_PROBES,
        filters=filters or FilterOptions(),
    )


def _skb_sections(words: tuple[str, ...]) -> tuple[str, ...]:
    known = [word for c in COLLECTORS for word, _ in c.optional_sections]
    # Retis' older names of what is always collected, or has become a collector of its own.
    ignored = ("eth", "arp", "ip", "tcp", "udp", "icmp", "packet", "dev", "ns")
    for word in words:
        if word in ignored:
            log.warning("--skb-sections %s has no effect", word)
        elif word != "all" and word not in known:
            raise UsageError(f"unknown --skb-sections value {word!r}", f"values: {', '.join(known)}, all")
    return words


def _nft_verdicts(words: tuple[str, ...]) -> tuple[str, ...]:
    known = (verdicts.ALL, *verdicts.VERDICTS.values())
    for word in words:
        if word not in known:
            raise UsageError(f"unknown --nft-verdicts value {word!r}", f"values: {', '.join(known)}")
    return words or verdicts.DEFAULT


def cpus() -> tuple[int, tuple[int, ...]]:
    """Return how many places an array by CPU number needs, and the CPUs that are online."""
    from fyke.kernel.machine import online_cpus, possible_cpus

    try:
        return max(possible_cpus()) + 1, online_cpus()
    except (OSError, ValueError) as e:
        raise Unsupported(f"the list of CPUs can't be read: {e}", "mount /sys") from e


def facts_of(plan: Plan, cmdline: str, version: str) -> Facts:
    """Return the facts of a collection that begins now. version: of fyke."""
    here = machine()
    return Facts(
        version=version,
        cmdline=cmdline,
        timestamp_ns=kernel_clock_ns(),
        clock_monotonic_offset_ns=clock_monotonic_offset_ns(),
        kernel_release=here.kernel_release,
        kernel_version=here.kernel_version,
        hardware_name=here.hardware_name,
        host=here.host,
        collectors=tuple(c.name for c in plan.collectors),
        probes=tuple(
            {"symbol": p.symbol, "probe_type": p.mechanism, "asked": list(p.asked)} for p in plan.probes
        ),
        notes=plan.notes,
    )
