"""What a running ovs-vswitchd tells of its flows, against what its own tools print.

The datapath is its own, in user space: nothing of the kernel is in it.
"""

from __future__ import annotations

import re
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fyke.capture.flow_texts import Flow, FlowText, FlowTexts
from fyke.kernel.unixctl import Refused, Unixctl, vswitchd_sockets
from live.vswitchd import Vswitchd
from live.waiting import eventually

pytestmark = pytest.mark.host_only

PACKET = (
    "in_port(1),eth(src=50:54:00:00:00:05,dst=50:54:00:00:00:07),eth_type(0x0800),"
    "ipv4(src=10.0.0.1,dst=10.0.0.2,proto=1,tos=0,ttl=64,frag=no),icmp(type=8,code=0)"
)
UNKNOWN = "00000000-1111-2222-3333-444444444444"


@pytest.fixture(scope="module")
def programs() -> Path:
    """Open vSwitch, built once for all."""
    sys.path.append(str(Path(__file__).parents[1] / "vm"))
    from openvswitch import build

    return build()


@pytest.fixture
def vswitchd(programs: Path, tmp_path: Path) -> Iterator[Vswitchd]:
    """A bridge br0 with the ports p1 and p2, and a rule for ICMP."""
    with Vswitchd(programs, tmp_path, dummy=True) as daemon:
        ports = [f"-- add-port br0 {p} -- set interface {p} type=dummy" for p in ("p1", "p2")]
        daemon.vsctl(*f"add-br br0 -- set bridge br0 datapath_type=dummy {' '.join(ports)}".split())
        daemon.ofctl("add-flow", "br0", "cookie=0x5eed,priority=10,icmp,actions=output:p2")
        yield daemon


def made_flow(daemon: Vswitchd) -> str:
    """Send a packet, and return the UFID of the flow that it makes."""
    daemon.appctl("netdev-dummy/receive", "p1", PACKET)
    found: list[str] = []

    def there() -> bool:
        found.extend(re.findall(r"ufid:(\S+),", daemon.appctl("dpctl/dump-flows", "-m")))
        return bool(found)

    eventually(there)
    return found[0]


def told(texts: FlowTexts, flow: Flow, seconds: float = 15) -> tuple[str, tuple[str, ...]]:
    """Have a flow told of."""
    texts.want([flow])
    found: list[FlowText] = []

    def there() -> bool:
        found.extend(texts.take())
        return bool(found)

    eventually(there, seconds)
    assert [one.flow for one in found] == [flow]
    return found[0].datapath, found[0].rules


def test_a_flow_is_told_with_the_rules_it_was_made_of(vswitchd: Vswitchd) -> None:
    ufid = made_flow(vswitchd)
    texts = FlowTexts(sockets=lambda: [str(vswitchd.control)])
    try:
        # The daemon knows the rules when the flow was hit again and revalidated, within a second or so.
        vswitchd.appctl("netdev-dummy/receive", "p1", PACKET)
        datapath, rules = told(texts, Flow(ufid, 1, 2))
        without_counters = re.compile(r"packets:\d+, bytes:\d+, used:[^,]*")
        by_tool = vswitchd.appctl("dpctl/get-flow", f"ufid:{ufid}").strip()
        assert without_counters.sub("", datapath) == without_counters.sub("", by_tool)
        by_detrace = vswitchd.appctl("ofproto/detrace", f"ufid:{ufid}")
        assert rules == tuple(line for line in by_detrace.splitlines() if line)
        assert any("0x5eed" in rule for rule in rules)
        # It is told once; another flow under the same UFID is another.
        texts.want([Flow(ufid, 1, 2)])
        assert told(texts, Flow(ufid, 7, 2))[0]
        assert texts.take() == []
        assert texts.failed == 0
    finally:
        texts.close()


def test_unknown_flows_and_daemons_that_are_gone_are_counted(vswitchd: Vswitchd) -> None:
    texts = FlowTexts(sockets=lambda: [str(vswitchd.control), "/nowhere/at/all"])
    try:
        texts.want([Flow(UNKNOWN, 1, 2)])
        eventually(lambda: texts.failed == 1)
        vswitchd.stop()
        texts.want([Flow(UNKNOWN, 3, 4)])
        eventually(lambda: texts.failed == 2)
        assert texts.take() == []
    finally:
        texts.close()


def test_no_more_is_asked_than_allowed(vswitchd: Vswitchd) -> None:
    texts = FlowTexts(rate=10, sockets=lambda: [str(vswitchd.control)])
    try:
        began = time.monotonic()
        texts.want([Flow(UNKNOWN, number, 0) for number in range(8)])
        eventually(lambda: texts.failed == 8)
        assert time.monotonic() - began > 0.65  # seven pauses of a tenth
    finally:
        texts.close()


def test_a_daemon_that_does_not_answer_delays_nobody(vswitchd: Vswitchd) -> None:
    process = vswitchd._processes[1]
    texts = FlowTexts(sockets=lambda: [str(vswitchd.control)], timeout_seconds=0.2)
    process.send_signal(signal.SIGSTOP)
    try:
        began = time.monotonic()
        texts.want([Flow(UNKNOWN, number, 0) for number in range(1000)])
        texts.take()
        assert time.monotonic() - began < 0.1
        eventually(lambda: texts.failed >= 1)
        began = time.monotonic()
        texts.close()
        assert time.monotonic() - began < 1
        assert texts.unasked
    finally:
        process.send_signal(signal.SIGCONT)
        texts.close()


def test_sockets_are_found_by_process(vswitchd: Vswitchd, monkeypatch: pytest.MonkeyPatch) -> None:
    found = vswitchd_sockets()  # wherever it is
    assert [Path(one).samefile(vswitchd.control) for one in found].count(True) == 1
    monkeypatch.setenv("OVS_RUNDIR", str(vswitchd.rundir))
    assert str(vswitchd.control) in vswitchd_sockets()
    assert len(vswitchd_sockets()) == len(found)


def test_what_a_daemon_refuses(vswitchd: Vswitchd) -> None:
    daemon = Unixctl(str(vswitchd.control))
    with pytest.raises(Refused, match="not a valid command"):
        daemon.run("no/such")
    assert "ofproto/detrace" in daemon.run("list-commands")  # the connection goes on
    daemon.close()
