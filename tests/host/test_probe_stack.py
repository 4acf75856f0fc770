"""`--probe-stack`: the functions on a packet's way are found, probed, and remembered."""

from __future__ import annotations

import json
import logging
import time
from argparse import Namespace
from pathlib import Path

import pytest

from fyke.capture.filters import FilterOptions
from fyke.capture.loss import closing_batch
from fyke.capture.plan import Plan, make_plan
from fyke.capture.session import Session
from fyke.cli.collect_options import collect_options
from fyke.cli.found_profile import save_found
from fyke.cli.main import parser_of
from fyke.cli.profiled import parse_profiled
from fyke.collectors.api import SKB
from fyke.kernel.machine import kernel_clock_ns, online_cpus, possible_cpus
from live.ftrace import stacks
from live.recording import RX, Row, ipv4, kernel, kernel_without, plan, record
from live.sources import bpf_objects, none_but
from live.topology import TwoNs, two_ns
from live.traffic import ping

pytestmark = [pytest.mark.ends_only, pytest.mark.needs("kprobe")]

COLLECTORS = ("skb-tracking", "skb", "ns")
ICMP = FilterOptions(packet="icmp")


def planned_by(args: Namespace) -> Plan:
    """Return what a line of `fyke collect` would do here."""
    return make_plan(collect_options(args), kernel(), max(possible_cpus()) + 1, online_cpus())


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
    line = ["--probe-stack", "-f", "icmp", "-p", f"tp:{RX}", "-c", ",".join(COLLECTORS)]
    args = parser_of("collect").parse_args([*line, "--save-profile", "icmp"])
    planned = planned_by(args)
    with two_ns() as pair:
        ping(pair.a, pair.b.v4)
        with Session(planned, kernel()) as session:
            with stacks("skb/consume_skb") as traced:
                rows = follow(session, pair)
            rows += [row for batch in session.stop() for row in batch.to_pylist()]
            added, missing = session.added, set(session.missing)
            save_found(args, session)
            told = check_counts(session, rows)
        del session  # and with it the last view of the counters
        again = record(
            lambda: ping(pair.a, pair.b.v4), planned_by(parse_profiled("collect", [], ["icmp"], []))
        )
    none_but(before)
    # What ftrace says of these packets; where they went is behind the one probe that was asked for.
    ours = [stack for stack in traced if "icmp_rcv" in stack]
    assert ours
    way = {name for name in set().union(*ours) if takes_packets(name)} - missing
    assert way <= set(added)
    written = {row["kernel"]["symbol"] for row in rows}
    assert way <= written
    assert list(told) == list(added)
    assert {f"added probe {name} ({planned.adds})" for name in added} <= {
        r.getMessage() for r in caplog.records
    }
    assert all(row["kernel"]["stack"] is None for row in rows), "nobody asked to see stacks"
    # The second run, of one packet and its answer.
    met = {row["kernel"]["symbol"] for row in again.rows if ipv4(row)[9:10] == b"\x01"}
    assert way <= met <= {RX, *added}


def check_counts(session: Session, rows: list[Row]) -> dict[str, int]:
    """Check that what was added counts as what was there before; return symbol -> when, as a file has it."""
    assert [gap for gap in session.gaps() if gap.cause != "recursion"] == []
    loss = session.loss
    for n, probe in enumerate(session.plan.probes):
        if probe.added_ns is not None:
            assert probe.mechanism == session.plan.adds
            written = sum(row["kernel"]["symbol"] == probe.symbol for row in rows)
            assert loss.hits()[n] == written + loss.filtered()[n], probe.symbol
    end_ns = kernel_clock_ns()
    closing = closing_batch(end_ns, len(rows), loss, "signal", session.missing).to_pylist()[0]["closing"]
    noted = {p["symbol"]: p for p in json.loads(closing["probes"])}
    assert "added_ns" not in noted[RX]
    told = {symbol: p["added_ns"] for symbol, p in noted.items() if "added_ns" in p}
    times = list(told.values())
    assert times == sorted(times)
    assert all(rows[0]["timestamp_ns"] < time_ns < end_ns for time_ns in times)
    return told


def takes_packets(name: str) -> bool:
    params = kernel().function_params(name) or []
    if name.startswith("__traceiter_"):  # calls what looks at the tracepoint
        return False
    return SKB in params[:6] and kernel().has_function(name)


@pytest.mark.needs("fentry")
def test_without_kprobes_by_fentry_up_to_a_number(caplog: pytest.LogCaptureFixture) -> None:
    before = bpf_objects()
    lesser = kernel_without("kprobe", "kprobe_multi", "kprobe_cookie")
    options = {"collectors": COLLECTORS, "probes": (f"tp:{RX}",), "probe_stack": True, "filters": ICMP}
    most = len(plan(lesser, **options).probes) + 2
    planned = plan(lesser, **options, max_probes=most)
    assert planned.adds == "fentry"
    with two_ns() as pair, Session(planned, lesser) as session:
        rows = follow(session, pair)
        rows += [row for batch in session.stop() for row in batch.to_pylist()]
        assert len(session.plan.probes) == most
        added = session.added
    del session
    assert len(added) == 2
    assert {row["kernel"]["probe_type"] for row in rows if row["kernel"]["symbol"] in added} == {"fentry"}
    assert any("adds no more probes: there are --max-probes" in r.getMessage() for r in caplog.records)
    none_but(before)
