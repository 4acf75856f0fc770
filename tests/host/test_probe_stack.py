"""`--probe-stack`: the functions on a packet's way are found, probed, and remembered."""

from __future__ import annotations

import json
import logging
import time
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fyke.capture.filters import FilterOptions
from fyke.capture.loss import closing_batch
from fyke.capture.plan import Plan, make_plan
from fyke.capture.session import Session
from fyke.cli.collect_options import collect_options
from fyke.cli.found_profile import save_found
from fyke.cli.profiled import parse_profiled
from fyke.collectors.api import SKB
from fyke.kernel.machine import kernel_clock_ns, online_cpus, possible_cpus
from live.recording import RX, Row, ipv4, kernel, kernel_without, plan, record
from live.sources import bpf_objects
from live.topology import TwoNs, two_ns
from live.traffic import ping

pytestmark = [pytest.mark.ends_only, pytest.mark.needs("kprobe")]

COLLECTORS = ("skb-tracking", "skb", "ns")
ICMP = FilterOptions(packet="icmp")
TRACING = Path("/sys/kernel/tracing")


@contextmanager
def stacks_of_ftrace(event: str) -> Iterator[list[set[str]]]:
    """The functions on the stacks of an event, as ftrace has them, when the block has ended."""
    instance = TRACING / "instances" / "fyke_test"
    instance.mkdir()
    found: list[set[str]] = []
    try:
        (instance / "options/stacktrace").write_text("1")
        (instance / "events" / event / "enable").write_text("1")
        yield found
        (instance / "events" / event / "enable").write_text("0")
        for line in (instance / "trace").read_text().splitlines():
            if "<stack trace>" in line:
                found.append(set())
            elif line.startswith(" => ") and found:
                found[-1].add(line[4:].split("+")[0].strip())
    finally:
        instance.rmdir()


def follow(session: Session, pair: TwoNs) -> list[Row]:
    """Ping until two more pings have found nothing; return the events."""
    rows: list[Row] = []
    quiet = 0
    end = time.monotonic() + 120
    while quiet < 2:
        assert time.monotonic() < end, "there is no end to what is found"
        before = len(session.plan.probes)
        assert ping(pair.a, pair.b.v4) == 1
        soon = time.monotonic() + 0.6
        while time.monotonic() < soon:
            if (batch := session.poll(flush=True)) is not None:
                rows += batch.to_pylist()
            time.sleep(0.05)
        quiet = quiet + 1 if len(session.plan.probes) == before else 0
    return rows


def test_the_whole_way_is_found_and_the_second_run_has_it_from_the_first_packet_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("FYKE_CONFIG_DIR", str(tmp_path))
    caplog.set_level(logging.INFO)
    before = bpf_objects()
    probe, args = f"tp:{RX}", Namespace(save_profile="icmp", filter_packet="icmp", filter_file=None)
    for name in (
        "filter_inner",
        "filter_meta",
        "netns",
        "netif",
        "skb_sections",
        "nft_verdicts",
        "ct_events",
    ):
        setattr(args, name, None)
    args.snaplen, args.stack, args.probe, args.collectors = None, False, [probe], list(COLLECTORS)
    planned = plan(collectors=COLLECTORS, probes=(probe,), probe_stack=True, filters=ICMP)
    with two_ns() as pair:
        ping(pair.a, pair.b.v4)
        with Session(planned, kernel()) as session:
            with stacks_of_ftrace("skb/consume_skb") as stacks:
                rows = follow(session, pair)
            rows += [row for batch in session.stop() for row in batch.to_pylist()]
            session.gaps()
            save_found(args, session)
            closing = closing_batch(kernel_clock_ns(), len(rows), session.loss, "", session.missing)
            probes, missing = list(session.plan.probes), dict(session.missing)
            hits, filtered, lost = (getattr(session.loss, name)() for name in ("hits", "filtered", "lost"))
        found = session.added
        del session  # and with it the last view of the counters
        again = record(lambda: ping(pair.a, pair.b.v4), _as_saved("icmp"))
    assert bpf_objects() == before

    # What ftrace says of these packets: where they went is behind the one probe that was asked for.
    ours = [stack for stack in stacks if "icmp_rcv" in stack]
    assert ours
    may = {name for name in set().union(*ours) if _takes_packets(name)}
    assert may - missing.keys() - {p.symbol for p in probes} == set()
    # Each is told, and counted as those that were there from the start.
    told = {record.getMessage() for record in caplog.records}
    mechanism = {p.mechanism for p in probes if p.added_ns is not None}
    assert mechanism == {planned.adds}
    assert {f"added probe {symbol} ({planned.adds})" for symbol in found} <= told
    written = [sum(row["kernel"]["symbol"] == p.symbol for row in rows) for p in probes]
    assert sum(lost) == 0
    for n, p in enumerate(probes):
        if p.added_ns is not None:
            assert hits[n] == written[n] + filtered[n], p.symbol
            assert written[n], f"{p.symbol} is on the way, so that later pings come there"
    noted = {p["symbol"]: p for p in json.loads(closing.to_pylist()[0]["closing"]["probes"])}
    times = [noted[symbol]["added_ns"] for symbol in found]
    assert times == sorted(times)
    assert all(rows[0]["timestamp_ns"] < t < closing.to_pylist()[0]["timestamp_ns"] for t in times)
    assert "added_ns" not in noted[RX]
    assert all(row["kernel"]["stack"] is None for row in rows), "nobody asked to see stacks"
    # The second run.
    met = {row["kernel"]["symbol"] for row in again.rows if ipv4(row)[9:10] == b"\x01"}
    assert met == {RX, *found}, "a request and its reply, there and back"


def _takes_packets(name: str) -> bool:
    params = kernel().function_params(name) or []
    if name.startswith("__traceiter_"):  # calls what looks at the tracepoint
        return False
    return SKB in params[:6] and kernel().has_function(name)


def _as_saved(name: str) -> Plan:
    options = collect_options(parse_profiled("collect", [], [name], []))
    return make_plan(options, kernel(), max(possible_cpus()) + 1, online_cpus())


@pytest.mark.needs("fentry")
def test_without_kprobes_by_fentry_up_to_a_number(caplog: pytest.LogCaptureFixture) -> None:
    before = bpf_objects()
    lesser = kernel_without("kprobe", "kprobe_multi", "kprobe_cookie")
    options = {"collectors": COLLECTORS, "probes": (f"tp:{RX}",), "probe_stack": True, "filters": ICMP}
    most = len(plan(lesser, **options).probes) + 4
    planned = plan(lesser, **options, max_probes=most)
    assert planned.adds == "fentry"
    with two_ns() as pair, Session(planned, lesser) as session:
        rows = follow(session, pair)
        rows += [row for batch in session.stop() for row in batch.to_pylist()]
        assert len(session.plan.probes) == most
        added = session.added
    del session
    assert len(added) == 4
    assert {row["kernel"]["probe_type"] for row in rows if row["kernel"]["symbol"] in added} == {"fentry"}
    assert any("adds no more probes: there are --max-probes" in r.getMessage() for r in caplog.records)
    assert bpf_objects() == before
