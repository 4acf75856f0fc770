"""Which functions on a stack are probed, and when, on made-up kernels."""

from __future__ import annotations

import logging
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from made_kernel import INT, SKB, made_kernel
from made_plan import CONSUME, DROP, RX, asked, planned, probes, refused

from fyke.capture import libbpf
from fyke.capture.adding import Adding
from fyke.capture.autoprobe import ASKED, Found
from fyke.capture.filters import FilterOptions, Filters
from fyke.capture.plan import Plan
from fyke.errors import RunError

ICMP = FilterOptions(packet="icmp")
# innermost first, as an event at the end of a received packet has it
STACK = [
    "consume_skb+0x40",
    "icmp_rcv+0x12",
    "ip_rcv+0x7f",
    "ip_select+0x1",  # takes no packet
    "dev_open+0x4",  # nor does this
    "ip_rcv.part.0+0x9",
    "no_btf+0x2",
    "0xffffffffc0de0010",
    "ip_output+0x3",
    "asm_common_interrupt+0x26",
    "interrupted+0x10",
]
MORE = {"icmp_rcv": (SKB,), "consume_skb": (SKB,), "interrupted": (SKB,), "later": (INT, SKB)}


def auto(features: tuple[str, ...] = ("kprobe", "kprobe_multi", "fentry"), **options: Any) -> Plan:
    kernel = made_kernel(features, more=MORE)
    return planned(kernel, **{"probe_stack": True, "filters": ICMP} | options)


def found(plan: Plan, *frames: str) -> list[str]:
    return [probe.symbol for probe in Found(plan, made_kernel(more=MORE)).on(list(frames))]


def test_the_usual_seeds_are_the_ends_of_packets() -> None:
    plan = auto(collectors=("auto",))
    assert {symbol for symbol, probe in asked(plan).items() if "default" in probe.asked} == {CONSUME, DROP}
    assert plan.adds == "kprobe_multi"
    assert plan.probe_room == plan.max_probes == 2048
    assert planned().adds == ""
    assert planned().probe_room == len(planned().probes)


def test_other_seeds_have_the_ends_looked_at_without_events() -> None:
    plan = auto(collectors=("skb", "skb-tracking"), probes=(RX,))
    assert list(asked(plan)) == [RX]
    ends = probes(plan)
    assert all(ends[symbol].internal and not ends[symbol].sections for symbol in (CONSUME, DROP))
    assert plan.any_stack
    assert not any("STACK" in probe.flags for probe in plan.probes), "none is shown"


def test_packets_that_are_not_tracked_are_not_followed() -> None:
    plan = auto(collectors=("skb",), probes=(RX,))
    assert list(probes(plan)) == [RX]
    assert any("only what leads to the probes is found" in note for note in plan.notes)


@pytest.mark.parametrize(
    ("features", "mechanism"),
    [(("kprobe", "kprobe_multi"), "kprobe_multi"), (("kprobe",), "kprobe"), (("fentry",), "fentry")],
)
def test_the_mechanism_that_functions_get_here(features: tuple[str, ...], mechanism: str) -> None:
    plan = auto(features)
    assert plan.adds == mechanism
    (note,) = [note for note in plan.notes if note.startswith("--probe-stack: functions")]
    assert f"by {mechanism}, up to 2048 probes" in note
    kernel = made_kernel(features, more=MORE)
    assert {probe.mechanism for probe in Found(plan, kernel).on(STACK)} == {mechanism}


def test_what_cant_be() -> None:
    error = refused(probe_stack=True, filters=FilterOptions())
    assert error.message.startswith("--probe-stack needs a filter")
    error = refused(made_kernel(()), probe_stack=True, filters=ICMP)
    assert (
        error.message == "--probe-stack can't probe functions: no kprobes here, this kernel doesn't have it"
    )
    error = refused(probe_stack=True, filters=ICMP, max_probes=16_385)
    assert error.message.startswith("--max-probes 16385 is too many for --probe-stack")
    error = refused(probe_stack=True, filters=ICMP, max_probes=2)
    assert error.message.endswith("are more than --max-probes 2")


def test_functions_that_take_a_packet_each_once_up_to_an_interrupt() -> None:
    plan = auto(probes=(RX,))
    finder = Found(plan, made_kernel(more=MORE))
    assert [(p.symbol, p.arguments["skb"]) for p in finder.on(STACK)] == [
        ("consume_skb", 0),
        ("icmp_rcv", 0),
        ("ip_rcv", 0),
        ("ip_output", 2),
    ]
    assert list(finder.on(STACK)) == []
    assert [p.symbol for p in finder.on(["later+0x1", "ip_rcv+0x7f"])] == ["later"]
    assert all(p.asked == (ASKED,) and not p.flags for p in Found(plan, made_kernel()).on(STACK))


def test_what_is_probed_already_is_not_again() -> None:
    assert found(auto(probes=(RX, "ip_rcv", "kr:ip_output")), *STACK) == ["consume_skb", "icmp_rcv"]
    # skb_free_head is tracking's
    assert found(auto(probes=(RX,)), "skb_free_head+0x1", "ip_rcv+0x1") == ["ip_rcv"]


def test_with_stacks_asked_for_those_that_are_added_show_theirs() -> None:
    plan = auto(probes=(RX,), stack=True)
    (probe,) = Found(plan, made_kernel()).on(["ip_rcv+0x1"])
    assert probe.flags == {"STACK"}


def test_a_function_without_a_packet_has_events_for_a_filter_of_what_it_has() -> None:
    plan = auto(probes=(RX,))
    fields: Any = SimpleNamespace(roots=("net_device",))
    assert found(plan, "dev_open+0x1") == []
    assert found(replace(plan, filters=Filters(fields=fields)), "dev_open+0x1") == ["dev_open"]
    assert found(replace(plan, filters=replace(plan.filters, fields=fields)), "dev_open+0x1") == []


class Running:
    """A running collection: stacks come into its map; what is attached and configured is noted."""

    def __init__(self, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
        self.plan = plan
        self.maps = SimpleNamespace(stacks=7)
        self.looks = True
        self.stacks: list[list[str]] = []
        self.asked: list[int] = []
        self.attached: list[list[str]] = []
        self.configured: list[tuple[int, bool]] = []
        self.missing: dict[str, str] = {}
        self.refuses: dict[str, str] = {}
        self.error = ""
        self.now = 0.0
        monkeypatch.setattr(libbpf, "keys_of", lambda fd: iter(range(len(self.stacks))) if fd == 7 else None)
        monkeypatch.setattr("fyke.capture.adding.time.monotonic", self.clock)
        monkeypatch.setattr("fyke.capture.adding.kernel_clock_ns", lambda: 5000)
        running: Any = self
        self.adding = Adding(plan, made_kernel(more=MORE), running, running, running)

    def clock(self) -> float:
        self.now += 0.001
        return self.now

    def stack(self, stack_id: int) -> list[str]:
        self.asked.append(stack_id)
        return self.stacks[stack_id]

    def configure(self, number: int) -> None:
        self.configured.append((number, self.looks))

    def attach(self, numbers: range) -> None:
        assert [number for number, _ in self.configured[-len(numbers) :]] == list(numbers), "told before hit"
        if self.error:
            raise RunError(self.error)
        new = [self.plan.probes[number] for number in numbers]
        assert all(probe.added_ns == 5000 for probe in new)
        self.missing |= {p.symbol: self.refuses[p.symbol] for p in new if p.symbol in self.refuses}
        self.attached.append([probe.symbol for probe in new])

    def wait(self) -> None:
        self.now += 10


def session_plan(**options: Any) -> Plan:
    plan = auto(**{"probes": (RX,)} | options)
    return replace(plan, probes=[*plan.probes])


def test_each_stack_is_looked_at_once_and_all_on_it_is_attached_at_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    running = Running(session_plan(), monkeypatch)
    before = len(running.plan.probes)
    running.stacks.append(STACK)
    running.adding.step()
    running.wait()
    running.stacks.append(["later+0x1", "ip_rcv+0x2"])
    running.adding.step()
    running.wait()
    running.adding.step()
    assert running.attached == [["consume_skb", "icmp_rcv", "ip_rcv", "ip_output"], ["later"]]
    assert running.asked == [0, 1]
    assert len(running.plan.probes) == before + 5
    assert "added probe later (kprobe_multi)" in caplog.messages


def test_looking_takes_a_part_of_the_time_only(monkeypatch: pytest.MonkeyPatch) -> None:
    running = Running(session_plan(), monkeypatch)
    running.adding.step()
    running.stacks.append(STACK)
    running.adding.step()
    assert running.asked == [], "it just looked"
    running.wait()
    running.adding.step()
    assert running.asked == [0]


def test_one_by_one_the_rings_get_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    running = Running(session_plan(features=("kprobe",)), monkeypatch)
    running.stacks.append(STACK)

    def slow(numbers: range) -> None:
        assert len(numbers) == 1
        running.now += 1

    monkeypatch.setattr(running, "attach", slow)
    before = len(running.plan.probes)
    grown = []
    for _ in range(5):
        running.adding.step()
        grown.append(len(running.plan.probes) - before)
    assert grown == [1, 2, 3, 4, 4]


def test_max_probes_is_where_it_ends_and_no_more_stacks_are_taken(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    room = len(session_plan().probes) + 3
    running = Running(session_plan(max_probes=room), monkeypatch)
    running.stacks.append(STACK)
    running.adding.step()
    assert running.attached == [["consume_skb", "icmp_rcv", "ip_rcv"]]
    assert len(running.plan.probes) == room
    (warning,) = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert warning == (
        f"--probe-stack adds no more probes: there are --max-probes {room} probes; 1 more found"
    )
    assert running.configured[-room:] == [(number, False) for number in range(room)]
    running.wait()
    running.adding.step()
    assert running.asked == [0]


def test_what_is_refused_is_said_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    running = Running(session_plan(), monkeypatch)
    running.refuses = {"icmp_rcv": "No such file"}
    running.stacks.append(STACK)
    running.adding.step()
    assert "icmp_rcv is on a packet's way, but can't be probed: No such file" in caplog.messages
    assert "added probe ip_rcv (kprobe_multi)" in caplog.messages
    running.error = "can't attach to later (kprobe_multi): Too many open files"
    running.stacks.append(["later+0x1"])
    running.wait()
    running.adding.step()
    assert caplog.messages[-1] == f"--probe-stack adds no more probes: {running.error}"
    assert "later" in running.missing, "so that nobody takes it for probed"
