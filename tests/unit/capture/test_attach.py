"""Attaching a plan's probes to a kernel that follows a script: what goes where, and what a refusal means."""

from __future__ import annotations

import errno
import logging
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from fyke.capture import attach
from fyke.capture.attach import Attached
from fyke.capture.planned import PlannedProbe
from fyke.errors import RunError

RX = "net:netif_receive_skb"
# Said of the machine or the process, not of a probe.
OF_ALL = [errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM]
MECHANISMS = ["raw_tracepoint", "kprobe", "kprobe_multi", "kretprobe", "kretprobe_multi", "fentry", "fexit"]


@dataclass
class MadePlan:
    """The part of a plan that attaching looks at."""

    probes: tuple[PlannedProbe, ...]
    online: frozenset[int] = frozenset({2, 3})


@dataclass
class MadeLoaded:
    """Programs as loaded: that of a probe has its number and 100."""

    plan: MadePlan
    cookie: dict[str, bool] = field(default_factory=lambda: dict.fromkeys(MECHANISMS, True))

    def program_fd(self, number: int) -> int:
        return 100 + number

    def entry_fd(self, number: int) -> int:
        return 200 + number


@dataclass
class MadeKernel:
    """Hands out descriptors, which it can tell open from closed; refuses symbols with an errno each."""

    refuses: dict[str, int] = field(default_factory=dict)
    calls: list[tuple[Any, ...]] = field(default_factory=list)
    given: list[int] = field(default_factory=list)
    closed: list[int] = field(default_factory=list)

    def _answer(self, *symbols: str) -> int:
        for symbol in symbols:
            if symbol in self.refuses:
                code = self.refuses[symbol]
                raise OSError(code, os.strerror(code))
        self.given.append(1000 + len(self.given))
        return self.given[-1]

    def raw_tracepoint_open(self, program_fd: int, name: str | None, cookie: int = 0) -> int:
        self.calls.append(("raw_tracepoint_open", program_fd, name, cookie))
        return self._answer(name if name is not None else f"program {program_fd}")

    def link_create_kprobe_multi(
        self, program_fd: int, symbols: list[str], cookies: list[int], *, returns: bool = False
    ) -> int:
        kind = "kretprobe_multi" if returns else "kprobe_multi"
        self.calls.append((kind, program_fd, tuple(symbols), tuple(cookies)))
        return self._answer(*symbols)

    def open_kprobe(self, function: str, cpu: int, *, returns: bool = False) -> int:
        self.calls.append(("open_kretprobe" if returns else "open_kprobe", function, cpu))
        return self._answer(function)

    def attach(self, event_fd: int, program_fd: int, cookie: int | None) -> int | None:
        self.calls.append(("perf_attach", event_fd, program_fd, cookie))
        fd = self._answer(f"program {program_fd}")
        if cookie is None:
            self.given.remove(fd)
            return None
        return fd


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[MadeKernel]:
    made = MadeKernel()
    monkeypatch.setattr("fyke.capture.attach.syscall_bpf", made)
    monkeypatch.setattr("fyke.capture.attach.perf", made)
    monkeypatch.setattr("fyke.capture.attach.os", SimpleNamespace(close=made.closed.append))
    yield made
    assert made.closed == made.given[::-1], "each is closed once, the newest first"


def planned(symbol: str, mechanism: str, *flags: str, asked: tuple[str, ...] = ()) -> PlannedProbe:
    exit_ = "" if asked or mechanism != "fexit" else "expand"
    return PlannedProbe(symbol, mechanism, frozenset(), {"skb": 0}, frozenset(flags), asked, exit=exit_)


def loaded(*probes: PlannedProbe, cookies: bool = True) -> Any:
    found = MadeLoaded(MadePlan(probes))
    if not cookies:
        found.cookie |= {"raw_tracepoint": False, "kprobe": False}
    return found


def attached(*probes: PlannedProbe, progress: Callable[[int, int], None] = lambda *_: None) -> Attached:
    """Attach what can be, and take it away again."""
    found = Attached(loaded(*probes), progress)
    found.detach()
    return found


def test_every_mechanism_is_attached_in_its_way(kernel: MadeKernel) -> None:
    done: list[tuple[int, int]] = []
    attached(
        planned(RX, "raw_tracepoint", asked=("tp:" + RX,)),
        planned("ip_rcv", "kprobe_multi", asked=("ip_rcv",)),
        planned("skb_gro_receive", "fexit"),
        planned("ip_output", "kprobe", asked=("ip_*",)),
        planned("skb_free_head", "kprobe_multi", "FREE"),
        progress=lambda *counts: done.append(counts),
    )
    assert kernel.calls == [
        ("kprobe_multi", 101, ("ip_rcv", "skb_free_head"), (1, 4)),
        ("raw_tracepoint_open", 100, "netif_receive_skb", 0),
        ("raw_tracepoint_open", 102, None, 0),  # what it is for is in the program
        ("open_kprobe", "ip_output", 2),  # the CPU must be one that is online
        ("perf_attach", 1003, 103, 3),
    ]
    assert len(kernel.given) == 5
    assert done == [(3, 5), (4, 5), (5, 5)]


def test_returns_are_attached_before_their_entries(kernel: MadeKernel) -> None:
    """A call that is remembered at the entry must be seen to return."""
    attached(
        planned("f", "kretprobe", asked=("kr:f",)),
        planned("g", "kretprobe_multi", asked=("kr:g",)),
        planned("h", "fexit", asked=("fx:h",)),
    )
    assert kernel.calls == [
        ("kretprobe_multi", 101, ("g",), (1,)),
        ("kprobe_multi", 201, ("g",), (1,)),
        ("open_kretprobe", "f", 2),
        ("perf_attach", 1002, 100, 0),
        ("open_kprobe", "f", 2),
        ("perf_attach", 1004, 200, 0),
        ("raw_tracepoint_open", 102, None, 0),
        ("raw_tracepoint_open", 202, None, 0),
    ]


def test_without_cookies_programs_know_their_number_themselves(kernel: MadeKernel) -> None:
    probes = (planned("ip_rcv", "kprobe"), planned("a:b", "raw_tracepoint"), planned("c:d", "raw_tracepoint"))
    Attached(loaded(*probes, cookies=False)).detach()
    assert kernel.calls == [
        ("open_kprobe", "ip_rcv", 2),
        ("perf_attach", 1000, 100, None),
        ("raw_tracepoint_open", 101, "b", 0),
        ("raw_tracepoint_open", 102, "d", 0),
    ]


def test_with_cookies_one_program_is_told_which_probe_it_is_at(kernel: MadeKernel) -> None:
    attached(planned(RX, "raw_tracepoint"), planned("c:d", "raw_tracepoint"))
    assert kernel.calls[-1] == ("raw_tracepoint_open", 101, "d", 1)


def test_of_many_those_are_left_out_that_the_kernel_refuses(kernel: MadeKernel) -> None:
    symbols = [f"f{n}" for n in range(9)]
    kernel.refuses = {"f2": errno.EINVAL, "f7": errno.ENOENT}
    found = attached(*(planned(symbol, "kprobe_multi", asked=("f*",)) for symbol in symbols))
    assert found.missing == {"f2": os.strerror(errno.EINVAL), "f7": os.strerror(errno.ENOENT)}
    made = [
        pair
        for _, _, names, cookies in kernel.calls
        if not kernel.refuses.keys() & set(names)
        for pair in zip(names, cookies, strict=True)
    ]
    assert sorted(made) == [(f"f{n}", n) for n in range(9) if n not in (2, 7)]


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_what_was_asked_for_by_name_must_be_had(kernel: MadeKernel, mechanism: str) -> None:
    kernel.refuses = dict.fromkeys(("x:it", "it", "program 101"), errno.EINVAL)
    symbol = "x:it" if mechanism == "raw_tracepoint" else "it"
    probes = (planned(RX, "raw_tracepoint"), planned(symbol, mechanism, asked=("i*", "it")))
    with pytest.raises(RunError) as caught:
        attached(*probes)
    assert caught.value.message == f"can't attach to {symbol} ({mechanism}): Invalid argument"
    assert caught.value.hint == "see `fyke doctor`"


@pytest.mark.parametrize("code", OF_ALL)
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_an_error_that_all_would_meet_ends_it_at_once(kernel: MadeKernel, mechanism: str, code: int) -> None:
    """However many there are: going on would give a collection that sees little, and say it of each."""
    kernel.refuses = {"a:f1": code, "f1": code, "program 101": code}
    prefix = "a:" if mechanism == "raw_tracepoint" else ""
    probes = [planned(f"{prefix}f{n}", mechanism, asked=("f*",)) for n in range(64)]
    with pytest.raises(RunError) as caught:
        attached(*probes)
    named = "f0" if mechanism.endswith("_multi") else f"{prefix}f1"  # of many at once, the first
    assert caught.value.message == f"can't attach to {named} ({mechanism}): {os.strerror(code)}"
    assert len(kernel.calls) <= 6


def test_a_perf_event_is_closed_when_its_program_is_refused(kernel: MadeKernel) -> None:
    kernel.refuses = {"program 100": errno.EMFILE}
    with pytest.raises(RunError, match="Too many open files"):
        attached(planned("f", "kprobe", asked=("f*",)))
    assert len(kernel.given) == 1


@pytest.mark.parametrize("mechanism", ["kprobe", "kprobe_multi"])
def test_without_a_free_of_all_there_is_no_tracking(kernel: MadeKernel, mechanism: str) -> None:
    """Every packet would be taken for the one before in its memory."""
    kernel.refuses = {"skb_free_head": errno.EINVAL, "program 101": errno.EINVAL}
    with pytest.raises(RunError) as caught:
        attached(planned(RX, "raw_tracepoint"), planned("skb_free_head", mechanism, "FREE"))
    assert caught.value.message == f"can't attach to skb_free_head ({mechanism}): Invalid argument"


@pytest.mark.parametrize(
    ("symbol", "mechanism", "flags"),
    [
        ("skb_release_data", "kprobe", ("RELEASE",)),
        ("kfree_skb_partial", "kprobe_multi", ("FREE_IF_STOLEN",)),
        ("pskb_expand_head", "kprobe_multi", ("EXPAND",)),
        ("pskb_expand_head", "fexit", ()),
        ("skb_gro_receive", "fexit", ()),
    ],
)
def test_without_another_of_its_own_tracking_goes_on_and_says_so(
    kernel: MadeKernel,
    symbol: str,
    mechanism: str,
    flags: tuple[str, ...],
    caplog: pytest.LogCaptureFixture,
) -> None:
    kernel.refuses = {symbol: errno.EINVAL, "program 100": errno.EINVAL}
    with caplog.at_level(logging.WARNING, "fyke"):
        found = attached(planned(symbol, mechanism, *flags), planned(RX, "raw_tracepoint", asked=(RX,)))
    assert found.missing == {}, "nobody asked for it"
    assert [r.getMessage() for r in caplog.records] == [
        f"skb-tracking: can't attach to {symbol} (Invalid argument)"
    ]
    assert kernel.calls[-1][:3] == ("raw_tracepoint_open", 101, "netif_receive_skb")


def test_a_pattern_loses_what_is_refused_without_a_word_for_each(
    kernel: MadeKernel, caplog: pytest.LogCaptureFixture
) -> None:
    kernel.refuses = {"f0": errno.EINVAL}
    assert attached(planned("f0", "kprobe", asked=("f*",)), planned("f1", "kprobe", asked=("f*",))).missing
    assert caplog.records == []


def test_a_signal_while_probes_are_attached_leaves_nothing(kernel: MadeKernel) -> None:
    def interrupted(_done: int, _all: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        attached(*(planned(f"f{n}", "kprobe") for n in range(3)), progress=interrupted)
    assert len(kernel.given) == 2


def test_many_links_are_closed_several_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as there are closers must be waiting before any of them is let go on."""
    made = MadeKernel()
    closed: list[int] = []
    together = threading.Barrier(attach._CLOSERS, timeout=10)

    def close(fd: int) -> None:
        if fd >= 1000 + 64 - attach._CLOSERS:  # the newest come first
            together.wait()
        closed.append(fd)

    monkeypatch.setattr(attach, "perf", made)
    monkeypatch.setattr(attach, "os", SimpleNamespace(close=close))
    attached(*(planned(f"f{n}", "kprobe") for n in range(32)))
    assert sorted(closed) == made.given
    assert len(made.given) == 64


def test_an_added_probe_that_is_refused_is_missing(kernel: MadeKernel) -> None:
    kernel.refuses = {"gone": errno.ENOENT}
    plan = MadePlan((PlannedProbe("skb:consume_skb", "raw_tracepoint", frozenset(), {}, asked=("default",)),))
    attached = Attached(MadeLoaded(plan))  # type: ignore[arg-type]
    held = len(kernel.given)
    for mechanism in ("kprobe_multi", "kprobe", "fentry"):
        new = [
            PlannedProbe(name, mechanism, frozenset(), {}, asked=("--probe-stack",), added_ns=7)
            for name in ("there", "gone")
        ]
        first = len(plan.probes)
        kernel.refuses[f"program {100 + first + 1}"] = errno.ENOENT
        plan.probes = (*plan.probes, *new)
        attached.attach(range(first, first + 2))
        assert attached.missing == {"gone": "No such file or directory"}
        attached.missing.clear()
    assert len(kernel.given) > held + 2
    attached.detach()
    assert sorted(kernel.closed) == sorted(kernel.given)
