"""Packets through ovs-vswitchd and back, held against what was sent, and what OVS counts."""

from __future__ import annotations

from pathlib import Path
from socket import AF_INET, SOCK_DGRAM

import pyarrow as pa
import pytest

from fyke.capture.session import Session
from fyke.collectors.ovs.user import FUNCTIONS, PROBES
from live import recording
from live.recording import Row, kernel, packet_id, plan, udp_payload
from live.sockets import know_each_other
from live.topology import plugged
from live.traffic import PORT
from live.vswitchd import Vswitchd, programs, without_probes
from live.waiting import eventually

FLOWS = 24
FIRST = 4000  # source port; each is a flow of its own, as a rule looks at it
WAY = ("upcall", "recv", "put", "exec", "output")
# Events of functions that return: vswitchd may have begun by then.
RETURNS = ("upcall_enqueue", "upcall_return")
pytestmark = [pytest.mark.ends_only, pytest.mark.needs("openvswitch")]


def _what(row: Row) -> str:
    """Return what happens, in a word."""
    for section, column in (("ovs_upcall", "event"), ("ovs_operation", "op_type"), ("ovs_action", "action")):
        if row[section]:
            return str(row[section][column])
    return "recv" if row["ovs_recv"] else ""


@pytest.mark.parametrize("by_functions", [False, True], ids=["probes", "functions"])
def test_every_packet_that_misses_is_one_journey(by_functions: bool, tmp_path: Path) -> None:
    """A burst of new flows, in batches: each packet, of a size of its own, comes back as itself.

    The daemon is started while the collection goes on. One without USDT probes is followed by its functions.
    """
    usual = [probe.symbol for probe in PROBES]
    symbols = [function.probe.symbol for function in FUNCTIONS] if by_functions else usual
    payloads = [bytes([n]) * (100 + n) for n in range(FLOWS)]
    recording.kernel.cache_clear()  # the module has come since
    built = programs()
    assert built
    if by_functions:
        built = without_probes(built, tmp_path)
    rules = [f"priority=5,udp,tp_src={FIRST + n},actions=NORMAL" for n in range(FLOWS)]
    batches: list[pa.RecordBatch] = []
    with plugged() as (pair, ports), Vswitchd(built, tmp_path) as daemon:
        daemon.vsctl(*f"add-br br0 -- add-port br0 {ports[0]} -- add-port br0 {ports[1]}".split())
        daemon.stop()
        planned = plan(collectors=("skb-tracking", "skb", "ovs"), ovs_track=True)
        assert not any(probe.user for probe in planned.probes)
        with Session(planned, kernel()) as session:

            def followed() -> bool:
                if batch := session.poll(flush=True):
                    batches.append(batch)
                return sum(probe.user is not None for probe in session.plan.probes) == len(symbols)

            daemon.start()
            eventually(followed)
            for rule in ("priority=1,actions=NORMAL", *rules):
                daemon.ofctl("add-flow", "br0", rule)
            know_each_other(pair.a, pair.b)
            sent = [pair.a.ns.socket(AF_INET, SOCK_DGRAM) for _ in payloads]
            for n, socket in enumerate(sent):
                socket.bind((pair.a.v4, FIRST + n))
            for socket, payload in zip(sent, payloads, strict=True):
                socket.sendto(payload, (pair.b.v4, PORT))
            eventually(lambda: daemon.dpctl("dump-flows").count("udp(src=") >= FLOWS)
            for socket in sent:
                socket.close()
            # Found at once by who begins now.
            later = plan(collectors=("skb-tracking", "ovs"), ovs_track=True)
            assert [probe.symbol for probe in later.probes if probe.user] == symbols
            batches += session.stop()
            lost = session.loss.lost_events
    rows = pa.Table.from_batches(batches).to_pylist()
    assert not lost
    journeys: dict[tuple[int, int], list[Row]] = {}
    for row in rows:
        if row["skb_tracking"]:
            journeys.setdefault(packet_id(row), []).append(row)
    ours = {p: journey for journey in journeys.values() for row in journey if (p := udp_payload(row))}
    assert set(payloads) <= ours.keys()
    numbers = set()
    for payload in payloads:
        journey = ours[payload]
        assert {udp_payload(row) for row in journey if row["packet"]} == {payload}
        words = [_what(row) for row in journey]
        assert [words.count(word) for word in RETURNS] == [1, 1]
        steps = [word for word in words if word and word not in RETURNS]
        assert list(dict.fromkeys(steps)) == list(WAY)
        assert set(steps[len(WAY) :]) <= {"output"}  # it may be put out at several ports
        enqueue, recv, put, execute, output = (
            journey[words.index(word)] for word in ("upcall_enqueue", "recv", "put", "exec", "output")
        )
        (number,) = {
            enqueue["ovs_upcall"]["queue_id"],
            *(row["ovs_operation"]["queue_id"] for row in (put, execute)),
            recv["ovs_recv"]["queue_id"],
            output["ovs_action"]["queue_id"],
        }
        numbers.add(number)
        assert recv["ovs_recv"]["pkt_size"] == len(payload) + 42
        assert recv["userspace"]["symbol"] == symbols[0]
        assert {put["userspace"]["symbol"], execute["userspace"]["symbol"]} == set(symbols[1:])
        assert recv["userspace"]["path"].endswith("/ovs-vswitchd")
        assert recv["task"]["comm"].startswith("handler")
    assert len(numbers) == FLOWS
