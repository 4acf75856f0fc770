"""ovs: upcalls a second without loss, a burst of new flows, and what each probe costs.

With the switch of the live tests: two namespaces at a bridge of an Open vSwitch that was built for them.
"""

from __future__ import annotations

import copy
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import AF_INET, SOCK_DGRAM
from typing import Any, NamedTuple

import pyarrow as pa

from bench.collecting import Ended, collecting
from bench.kernel_cost import statistics_on
from bench.report import Line
from fyke.capture.attach import Attached
from fyke.capture.load import Loaded
from fyke.capture.plan import Options, make_plan
from fyke.kernel import syscall_bpf
from fyke.kernel.features import Answer, Features
from fyke.kernel.machine import online_cpus, possible_cpus
from fyke.kernel.view import LiveKernel

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))
from live.datapath import counters
from live.needs import missing
from live.sockets import know_each_other
from live.topology import TwoNs, plugged
from live.vswitchd import Vswitchd, programs

COLLECTORS = ("skb-tracking", "skb", "ovs")
OPTIONS = ("-c", ",".join(COLLECTORS), "--ovs-track")
BURST = 10_000
FIRST_RATE, SECONDS = 100, 2.0  # each next rate is twice the last
FIRST_PORT, PORTS = 1024, 60_000
PAYLOAD_AT, PAYLOAD = 42, 8  # behind Ethernet, IP and UDP: a number that no other datagram has
# Without these each probe has a program of its own.
SHARING = ("raw_tracepoint_cookie", "kprobe_cookie", "kprobe_multi")


class Switch(NamedTuple):
    """A bridge with two hosts, where each new port is a new flow."""

    ovs: Vswitchd
    pair: TwoNs


def measure(*, quick: bool) -> Iterator[Line]:
    """Send datagrams each of which is a new flow: by rates, all at once, and past programs that are timed."""
    why = missing("openvswitch") or missing("kprobe")
    if why:
        yield Line(f"not measured: {why}", 0, "upcalls")
        return
    with switch() as there, tempfile.TemporaryDirectory(prefix="fyke-bench-") as folder:
        yield from _costs(there, 100 if quick else 2_000)
        yield from _burst(there, Path(folder), 200 if quick else BURST)
        yield from _rates(there, Path(folder), FIRST_RATE if quick else 1 << 20)


@contextmanager
def switch() -> Iterator[Switch]:
    """Have the switch."""
    built = programs()
    assert built
    # Its sockets' paths are short.
    with (
        tempfile.TemporaryDirectory(prefix="fyke-ovs-") as folder,
        plugged() as (pair, ports),
        Vswitchd(built, Path(folder)) as ovs,
    ):
        ovs.vsctl(*f"add-br br0 -- add-port br0 {ports[0]} -- add-port br0 {ports[1]}".split())
        ovs.appctl("upcall/disable-megaflows")
        know_each_other(pair.a, pair.b)
        yield Switch(ovs, pair)


def send(there: Switch, count: int, rate: float = 0) -> float:
    """Send datagrams, each to another port; return the seconds it took. rate: a second, 0: no limit."""
    a, b = there.pair.a, there.pair.b
    there.ovs.appctl("revalidator/purge")
    with a.ns.socket(AF_INET, SOCK_DGRAM) as sender:
        started = time.monotonic()
        for n in range(count):
            if rate and (early := started + n / rate - time.monotonic()) > 0:
                time.sleep(early)
            sender.sendto(n.to_bytes(PAYLOAD), (b.v4, FIRST_PORT + n % PORTS))
        return time.monotonic() - started


# ---- loss


def _rates(there: Switch, folder: Path, most: int) -> Iterator[Line]:
    for name, options in (("ovs, tracking, --ovs-track", OPTIONS), ("nothing of fyke", ())):
        best, note, rate = 0.0, "", float(FIRST_RATE)
        while rate <= most:
            count = round(rate * SECONDS)
            seconds, refused, lost = _sent(there, folder, options, count, rate)
            if refused or lost:
                note = f"at {count / seconds:,.0f}: {refused} refused by the socket, {lost} events lost"
                break
            if best and count / seconds < 1.2 * best:
                note = "the sender is no faster"
                break
            best, rate = count / seconds, 2 * rate
        yield Line(f"{name}: upcalls without loss", best, "a second", note=note)


def _sent(
    there: Switch, folder: Path, options: tuple[str, ...], count: int, rate: float
) -> tuple[float, int, int]:
    before = counters(there.ovs)
    if not options:
        seconds = send(there, count, rate)
        return seconds, counters(there.ovs)["lost"] - before["lost"], 0
    with collecting(folder, *options, tracepoints=()) as collection:
        seconds = send(there, count, rate)
        _settle(there)
        ended = collection.stop()
    return seconds, counters(there.ovs)["lost"] - before["lost"], ended.lost


def _settle(there: Switch) -> None:
    """Wait until the daemon makes no more flows, ten seconds at most."""
    last, end = -1, time.monotonic() + 10
    while time.monotonic() < end:
        shown = there.ovs.dpctl("show")
        now = int(shown.partition("flows: ")[2].split()[0])
        if now == last:
            return
        last = now
        time.sleep(0.3)


# ---- a burst, each message looked at


def _burst(there: Switch, folder: Path, count: int) -> Iterator[Line]:
    before = counters(there.ovs)
    with collecting(folder, *OPTIONS, tracepoints=()) as collection:
        seconds = send(there, count)
        _settle(there)
        ended = collection.stop()
    refused = counters(there.ovs)["lost"] - before["lost"]
    whole, wrong, messages = _stitched(collection.out)
    yield Line(
        f"{count:,} new flows at once: messages stitched right", whole - wrong, f"of {messages}",
        note=f"{refused} refused by the socket, {_loss(ended)}; {count / seconds:,.0f} a second",
    )  # fmt: skip
    if wrong:
        yield Line(f"{count:,} new flows at once: came back as another packet", wrong, "", at_most=0)


def _loss(ended: Ended) -> str:
    causes = ", ".join(f"{count} by {cause}" for cause, count in ended.causes.items())
    return f"{ended.lost} events lost{f' ({causes})' if causes else ''}"


def _stitched(path: Path) -> tuple[int, int, int]:
    """Return how many messages were recorded whole, how many of these came back as another, and all."""
    sent: dict[int, tuple[bytes, tuple[int, int]]] = {}
    back: dict[int, set[tuple[bytes, tuple[int, int]]]] = defaultdict(set)
    seen: dict[int, set[str]] = defaultdict(set)
    with pa.ipc.open_stream(path) as stream:
        for batch in stream:
            for row in batch.select([n for n in batch.schema.names if n in _NEEDED]).to_pylist():
                upcall, action = row["ovs_upcall"], row["ovs_action"]
                if upcall and upcall["event"] == "upcall_enqueue" and not upcall["ret"]:
                    sent[upcall["queue_id"]] = _identity(row)
                elif action and action["queue_id"]:
                    back[action["queue_id"]].add(_identity(row))
                elif (step := row["ovs_recv"] or row["ovs_operation"]) and step["queue_id"]:
                    seen[step["queue_id"]].add(step.get("op_type", "recv"))
    whole = [n for n in sent if n in back and seen[n] >= {"recv", "exec"}]
    return len(whole), sum(back[n] != {sent[n]} for n in whole), len(sent)


_NEEDED = ("skb_tracking", "packet", "ovs_upcall", "ovs_recv", "ovs_operation", "ovs_action")


def _identity(row: dict[str, Any]) -> tuple[bytes, tuple[int, int]]:
    tracking = row["skb_tracking"]
    payload = row["packet"]["data"][PAYLOAD_AT : PAYLOAD_AT + PAYLOAD]
    return payload, (tracking["timestamp_ns"], tracking["orig_head"])


# ---- per hit


class _Fewer(Features):
    """A kernel's features, but for those that let probes share a program."""

    def __init__(self, all_: Features) -> None:
        super().__init__()
        self._all = all_

    def __getitem__(self, name: str) -> Answer:
        return Answer("no", "left out") if name in SHARING else self._all[name]


class _Named(Loaded):
    """Programs whose probe is known. named: descriptor -> what it is at."""

    named: dict[int, str]

    def _program_fd(self, number: int, name: str, *, count: bool) -> int:
        fd = super()._program_fd(number, name, count=count)
        probe = self.plan.probes[number]
        entry = probe.is_return and name == probe.entry_program
        self.named[fd] = f"{probe.mechanism} {probe.symbol.rpartition(':')[2]}{', entry' if entry else ''}"
        return fd


def _costs(there: Switch, count: int) -> Iterator[Line]:
    kernel = copy.copy(LiveKernel())
    kernel.features = _Fewer(kernel.features)
    options = Options(collectors=COLLECTORS, ovs_track=True)
    plan = make_plan(options, kernel, max(possible_cpus()) + 1, online_cpus())
    _Named.named = {}
    loaded = _Named(plan, kernel)
    try:
        attached = Attached(loaded)
        empty = syscall_bpf.prog_load(syscall_bpf.PROG_TYPE_RAW_TRACEPOINT, syscall_bpf.RETURN_0)
        link = syscall_bpf.raw_tracepoint_open(empty, "ovs_dp_upcall")
        loaded.enable(True)
        try:
            with statistics_on():
                send(there, count)
                _settle(there)
                times = {name: syscall_bpf.prog_info(fd) for fd, name in loaded.named.items()}
                nothing = syscall_bpf.prog_info(empty)
        finally:
            for fd in (link, empty):
                os.close(fd)
            attached.detach()
    finally:
        loaded.close()
    base = nothing.run_time_ns / nothing.run_cnt
    yield Line("an empty program, per hit", base, "ns", note=f"{nothing.run_cnt} hits")
    for name, info in times.items():
        if info.run_cnt:
            ns = info.run_time_ns / info.run_cnt
            yield Line(f"{name}, per hit", ns, "ns", note=f"{ns / base:.1f} x empty; {info.run_cnt} hits")
