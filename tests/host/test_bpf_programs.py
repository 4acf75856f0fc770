"""XDP and TC programs: what they decided, by their own counters and by what arrived, and of which packet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from fyke.capture.filters import FilterOptions
from fyke.errors import Unsupported
from fyke.journeys.sort import sort
from fyke.kernel.bpf_programs import loaded_programs
from live.bpf_programs import Programs, loaded, tail_calls, tc_attached, xdp_attached
from live.recording import RX, Recording, Row, kernel, packet_id, plan, record, udp_payload
from live.sockets import know_each_other, udp_socket
from live.topology import TwoNs, two_ns
from live.traffic import udp_send

pytestmark = pytest.mark.needs("clang")

FEW = ("skb-tracking", "skb", "ns", "dev")
DROP = "skb:kfree_skb"
PAYLOADS = {
    4242: b"passed",
    9001: b"dropped by XDP",
    9002: b"sent back",
    9003: b"refused",
    9004: b"shot by tc",
}
PORT_OF = """
__u64 xdp_seen[5], tc_seen[3], last_seen;
static __always_inline int port_of(void *data, void *end)
{
	unsigned char *p = data;
	if (data + 42 > end || p[12] != 8 || p[13] != 0 || p[23] != 17)
		return 0;
	return p[36] << 8 | p[37];
}
"""
VERDICTS = (
    PORT_OF
    + """
SEC("xdp") int what_is_wanted_here(struct xdp_md *ctx)
{
	int verdict = XDP_PASS;
	switch (port_of((void *)(long)ctx->data, (void *)(long)ctx->data_end)) {
	case 9001: verdict = XDP_DROP; break;
	case 9002: verdict = XDP_TX; break;
	case 9003: verdict = XDP_ABORTED; break;
	}
	__sync_fetch_and_add(&xdp_seen[verdict], 1);
	return verdict;
}
SEC("tc") int shoot(struct __sk_buff *skb)
{
	int verdict = TC_ACT_OK;
	bpf_skb_pull_data(skb, 42);
	if (port_of((void *)(long)skb->data, (void *)(long)skb->data_end) == 9004)
		verdict = TC_ACT_SHOT;
	__sync_fetch_and_add(&tc_seen[verdict], 1);
	return verdict;
}
"""
)
XDP_NAMES = ("XDP_ABORTED", "XDP_DROP", "XDP_PASS", "XDP_TX", "XDP_REDIRECT")


@dataclass(frozen=True)
class Bench:
    pair: TwoNs
    programs: Programs

    def send(self) -> None:
        for port, payload in PAYLOADS.items():
            udp_send(self.pair.a, self.pair.b.v4, payload, port=port)


@contextmanager
def bench(mode: str) -> Iterator[Bench]:
    with ExitStack() as stack:
        pair = stack.enter_context(two_ns())
        know_each_other(pair.a, pair.b)
        programs = stack.enter_context(loaded(VERDICTS))
        stack.enter_context(xdp_attached(pair.b, programs.fd("what_is_wanted_here"), mode))
        stack.enter_context(tc_attached(pair.b, programs.fd("shoot")))
        yield Bench(pair, programs)


@pytest.mark.ends_only
@pytest.mark.parametrize("types", [True, False])
def test_which_programs_there_are(types: bool) -> None:
    with loaded(VERDICTS, types=types) as programs:
        told = {p.id: (p.kind, p.name, p.arguments, bool(p.why_not)) for p in loaded_programs()}
        wanted = "what_is_wanted_here" if types else "what_is_wanted_"
        assert told[program_id(programs.fd("shoot"))] == ("tc", "shoot", 1, not types)
        assert told[program_id(programs.fd("what_is_wanted_here"))] == ("xdp", wanted, 1, not types)


def program_id(fd: int) -> int:
    (line,) = (line for line in Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines() if "prog_id" in line)
    return int(line.split()[1])


@pytest.mark.ends_only
def test_exceptions_are_seen_by_their_tracepoint() -> None:
    with bench("native") as on:
        before = on.programs.numbers("xdp_seen", 1)[0]
        done = record(on.send, probes=("tp:xdp:xdp_exception",), collectors=FEW)
        seen = done.at("xdp:xdp_exception")
        assert len(seen) == on.programs.numbers("xdp_seen", 1)[0] - before == 1
        assert seen[0]["dev"]["name"] == on.pair.b.dev
        assert seen[0]["netns"]["inum"] == on.pair.b.ns.inode


def verdicts(done: Recording, symbol: str) -> list[tuple[bytes | None, str]]:
    return [(udp_payload(row), row["retval"]["name"]) for row in done.at(symbol) if udp_payload(row)]


def counted(before: tuple[int, ...], after: tuple[int, ...], names: tuple[str, ...]) -> Counter[str]:
    return Counter(dict(zip(names, (b - a for a, b in zip(before, after, strict=True)), strict=True)))


@pytest.mark.needs("fentry")
@pytest.mark.ends_only
@pytest.mark.parametrize("mode", ["native", "generic"])
def test_what_programs_decide(mode: str) -> None:
    probes = ("xdp:what_is_*", "tc:shoot", f"tp:{RX}", f"tp:{DROP}")
    with bench(mode) as on, udp_socket(on.pair.b) as receiver:
        before = on.programs.numbers("xdp_seen", 5), on.programs.numbers("tc_seen", 3)
        done = record(on.send, probes=probes, collectors=FEW)
        after = on.programs.numbers("xdp_seen", 5), on.programs.numbers("tc_seen", 3)
        assert receiver.recv(100) == PAYLOADS[4242]
    at_xdp, at_tc = done.at("xdp:what_is_wanted_here"), done.at("tc:shoot")
    assert Counter(row["retval"]["name"] for row in at_xdp) == counted(before[0], after[0], XDP_NAMES)
    by_tc = counted(before[1], after[1], ("TC_ACT_OK", "", "TC_ACT_SHOT"))
    assert Counter(row["retval"]["name"] for row in at_tc) == by_tc
    assert verdicts(done, "xdp:what_is_wanted_here") == [
        (PAYLOADS[4242], "XDP_PASS"),
        (PAYLOADS[9001], "XDP_DROP"),
        (PAYLOADS[9002], "XDP_TX"),
        (PAYLOADS[9003], "XDP_ABORTED"),
        (PAYLOADS[9004], "XDP_PASS"),
    ]
    assert verdicts(done, "tc:shoot") == [(PAYLOADS[4242], "TC_ACT_OK"), (PAYLOADS[9004], "TC_ACT_SHOT")]
    assert not done.gaps
    for row in (*at_xdp, *at_tc):
        assert row["dev"]["name"] == on.pair.b.dev
        assert row["packet"]["len"] == row["packet"]["capture_len"] == len(row["packet"]["data"])
    # One journey from the program on, and none that goes on as another packet's.
    assert len({packet_id(row) for row in at_xdp if udp_payload(row)}) == len(PAYLOADS)
    for events in done.journeys().values():
        assert len({udp_payload(row) for row in events}) == 1
    for port, symbols in ((4242, {RX, "tc:shoot"}), (9004, {RX, "tc:shoot", DROP})):
        (seen,) = (row for row in at_xdp if udp_payload(row) == PAYLOADS[port])
        journey = done.journeys()[packet_id(seen)]
        assert {row["kernel"]["symbol"] for row in journey} == symbols | {"xdp:what_is_wanted_here"}
        assert {row["clone"] for row in places(done, packet_id(seen))} == {0}


def places(done: Recording, of: tuple[int, int]) -> list[Row]:
    """Return the place in its journey of each event of a packet, as `fyke sort` gives them."""
    rows = [row for batch in sort(done.table.to_batches(), done.table.schema) for row in batch.to_pylist()]
    found = [row["journey"] for row in rows if row["skb_tracking"] and packet_id(row) == of]
    assert [place["index"] for place in found] == list(range(len(found)))
    assert len({place["id"] for place in found}) == 1
    return found


@pytest.mark.needs("fentry")
@pytest.mark.ends_only
def test_filters_choose_by_packet_device_and_verdict() -> None:
    expressions = {
        "retval == XDP_DROP": [9001],
        "retval in {XDP_TX, XDP_ABORTED} and net_device.ifindex != 0": [9002, 9003],
        "xdp_buff.rxq.dev.ifindex == 0": [],
    }
    with bench("native") as on:
        for fields, ports in expressions.items():
            filters = FilterOptions(packet="udp and dst portrange 9001-9004", fields=fields)
            done = record(on.send, probes=("xdp:*",), collectors=FEW, filters=filters)
            assert [p for p, _ in verdicts(done, "xdp:what_is_wanted_here")] == [PAYLOADS[p] for p in ports]


CHAIN = (
    PORT_OF
    + """
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} next SEC(".maps");

__attribute__((noinline)) int apart(struct xdp_md *ctx)
{
	return ctx->data_end - ctx->data > 14;
}
SEC("xdp") int last(struct xdp_md *ctx)
{
	__sync_fetch_and_add(&last_seen, 1);
	return port_of((void *)(long)ctx->data, (void *)(long)ctx->data_end) == 9001 ? XDP_DROP : XDP_PASS;
}
SEC("xdp") int first(struct xdp_md *ctx)
{
	if (apart(ctx))
		bpf_tail_call(ctx, &next, 0);
	return XDP_ABORTED;
}
SEC("tc") int of_nothing(void *ctx)
{
	return TC_ACT_UNSPEC;
}
"""
)


@pytest.mark.needs("fentry")
@pytest.mark.ends_only
def test_of_programs_in_a_row_the_first_tells_what_the_last_decided() -> None:
    with ExitStack() as stack:
        pair = stack.enter_context(two_ns())
        know_each_other(pair.a, pair.b)
        programs = stack.enter_context(loaded(CHAIN))
        tail_calls(programs, "next", programs.fd("last"))
        stack.enter_context(xdp_attached(pair.b, programs.fd("first"), "generic"))
        stack.enter_context(tc_attached(pair.b, programs.fd("of_nothing")))
        bare = stack.enter_context(loaded(VERDICTS, types=False))
        assert bare.fd("shoot")
        sent = [PAYLOADS[4242], PAYLOADS[9001]]

        def send() -> None:
            udp_send(pair.a, pair.b.v4, sent[0])
            udp_send(pair.a, pair.b.v4, sent[1], port=9001)

        before = programs.numbers("last_seen", 1)
        done = record(send, probes=("xdp:*", "tc:of_nothing"), collectors=FEW)
        (after,) = programs.numbers("last_seen", 1)
        with pytest.raises(
            Unsupported, match=r"the TC program shoot \(id \d+\): it was loaded without types"
        ):
            plan(kernel(), probes=("tc:shoot",), collectors=FEW)
    assert verdicts(done, "xdp:first") == [(sent[0], "XDP_PASS"), (sent[1], "XDP_DROP")]
    assert not done.at("xdp:last")
    assert len(done.at("xdp:first")) == after - before[0]
    assert verdicts(done, "tc:of_nothing") == [(sent[0], "TC_ACT_UNSPEC")]
    assert any("what_is_wanted_here" in note or "is left out" in note for note in done.plan.notes)
