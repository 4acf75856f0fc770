"""`fyke collect` with sessions that follow a script: what it writes, says, and leaves alone."""

from __future__ import annotations

import json
import os
import signal
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_session import RING_FULL, Script, batch, on_made_kernel

from fyke.capture.plan import Plan
from fyke.capture.ready import check_ready_file
from fyke.cli.main import main
from fyke.errors import RunError
from fyke.events.reader import open_events

RX = "net:netif_receive_skb"


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    on_made_kernel(monkeypatch, tmp_path)


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run a command line with a session that follows a script."""

    def run(script: Script, *arguments: str) -> int:
        monkeypatch.setattr("fyke.capture.session.Session", script.begin)
        return main(["collect", *arguments])

    return run


def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


def test_events_go_into_a_file(
    play: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = Script(batch(1, 2), interrupt, rest=(batch(3),), gaps=([RING_FULL],))
    assert play(script, "-o", "old.arrow", "-p", "ip_rcv", "-p", RX) == 0
    with open_events(str(tmp_path / "old.arrow")) as source:
        facts = source.facts
        rows = [row for taken in source.batches() for row in taken.to_pylist()]
    assert [r["timestamp_ns"] for r in rows if r["gap"] is None and r["closing"] is None] == [1, 2, 3]
    assert [r["gap"]["count"] for r in rows if r["gap"]] == [3]
    assert rows[-1]["closing"]["events"] == 3
    assert facts.collectors == ("skb-tracking", "skb-drop", "skb", "ns", "dev", "ct")
    assert facts.probes[0] == {"symbol": "ip_rcv", "probe_type": "kprobe_multi", "asked": ["ip_rcv"]}
    assert facts.clock_monotonic_offset_ns > 0
    assert script.closed
    assert script.flushed == [False, False]
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "ovs is off: the module openvswitch is not loaded",
        "nft is off: this kernel has no nftables (CONFIG_NF_TABLES), or its module nf_tables isn't loaded",
        "Collector(s) started: skb-tracking, skb-drop, skb, ns, dev, ct; 3 probe(s) attached",
        "warning: 3 events lost: the buffer is full; make it larger with --buffer, or ask for less",
        "3 event(s) written; 4 lost (recursion 1, ring_full 3; by probe: ip_rcv 3); 1 of 3 probe(s) hit; "
        "never hit: net:netif_receive_skb, skb:kfree_skb",
    ]


def test_without_a_file_events_are_text(play: Callable[..., int], capfdbinary: Any) -> None:
    script = Script(batch(1, 2), interrupt)
    script.loss.totals, script.loss.lost_events = {}, 0
    assert play(script, "-c", "dev", "-p", "ip_rcv") == 0
    out, err = capfdbinary.readouterr()
    start, *events = out.split(b"\n\n")
    assert b"collected with fyke" in start
    assert events == [b"1", b"2", b""]
    assert err.splitlines()[-1] == b"2 event(s) written; 0 lost; 1 of 1 probe(s) hit"
    assert script.flushed == [True, True]


def test_a_bare_o_and_print(play: Callable[..., int], tmp_path: Path, capfdbinary: Any) -> None:
    assert play(Script(batch(1), interrupt), "-o", "--print") == 0
    with open_events(str(tmp_path / "fyke.arrow")) as source:
        assert sum(len(taken) for taken in source.batches()) == 2
    assert capfdbinary.readouterr().out.split(b"\n\n")[1:] == [b"1", b""]


def test_the_name_says_the_format(play: Callable[..., int], tmp_path: Path) -> None:
    assert play(Script(batch(1), interrupt), "-o", "events.json") == 0
    lines = (tmp_path / "events.json").read_text().splitlines()
    assert "startup" in json.loads(lines[0])
    assert json.loads(lines[1])["common"]["timestamp"] == 1


def test_a_second_signal_is_told_by_the_exit_code(play: Callable[..., int], tmp_path: Path) -> None:
    def twice() -> None:
        interrupt()
        interrupt()

    assert play(Script(batch(1), twice, rest=(batch(2),)), "-o", "two.arrow") == 130
    with open_events(str(tmp_path / "two.arrow")) as source:
        assert sum(len(taken) for taken in source.batches()) == 3


def test_a_collection_that_cannot_start_leaves_the_earlier_file_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuses(*_: object) -> None:
        raise RunError("the kernel refused the BPF programs", "see `fyke doctor`")

    monkeypatch.setattr("fyke.capture.session.Session", refuses)
    assert main(["collect", "-o", "old.arrow"]) == 1
    assert capsys.readouterr().err.splitlines()[-2:] == [
        "error: the kernel refused the BPF programs",
        "hint: see `fyke doctor`",
    ]
    assert (tmp_path / "old.arrow").read_bytes() == b"precious"


def test_a_signal_while_probes_are_attached_ends_it_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    done: list[int] = []

    def slow(_plan: Plan, _kernel: object, progress: Callable[[int, int], None]) -> None:
        for number in range(1000):
            if number == 3:
                interrupt()
            progress(number, 1000)
            done.append(number)

    monkeypatch.setattr("fyke.capture.session.Session", slow)
    assert main(["collect", "-o", "old.arrow"]) == 130
    assert done == [0, 1, 2]
    assert (tmp_path / "old.arrow").read_bytes() == b"precious"


def test_an_earlier_ready_file_is_gone_until_events_flow(play: Callable[..., int], tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    ready.write_text("of an earlier run")

    class Slow(Script):
        def begin(self, plan: Plan, kernel: object, progress: object) -> Any:
            assert not ready.exists()
            return super().begin(plan, kernel, progress)

    assert (
        play(Slow(lambda: interrupt() if ready.read_text() == "ready\n" else None), "--ready-file", "ready")
        == 0
    )


def test_only_a_file_is_removed_for_the_ready_file(play: Callable[..., int], tmp_path: Path) -> None:
    """As root, `--ready-file /dev/stderr` must not take the device away."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    assert play(Script(interrupt), "-o", "x.arrow", "--ready-file", "pipe") == 0
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert os.read(reader, 100) == b"ready\n"
    os.close(reader)


def test_a_link_is_not_removed_either(play: Callable[..., int], tmp_path: Path) -> None:
    """/dev/stderr is one, to wherever it is redirected."""
    (tmp_path / "errors").write_text("")
    (tmp_path / "link").symlink_to("errors")
    assert play(Script(interrupt), "-o", "x.arrow", "--ready-file", "link") == 0
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "errors").read_text() == "ready\n"


def test_what_a_pattern_could_not_attach_is_counted_as_missing(
    play: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    script = Script(batch(1), interrupt)
    script.missing = {"ip_rcv": "Invalid argument", "skb_free_head": "Invalid argument"}
    assert play(script, "-o", "x.arrow", "-c", "skb-tracking", "-p", "ip_*", "-p", RX) == 0
    said = capsys.readouterr().err.splitlines()
    assert "Collector(s) started: skb-tracking; 2 probe(s) attached" in said
    assert "warning: 1 functions of a pattern can't be probed: ip_rcv" in said
    assert said[-1].endswith("of 2 probe(s) hit; never hit: net:netif_receive_skb")


def test_packets_that_a_filter_could_not_judge_are_told(
    play: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    script = Script(batch(1), interrupt)
    script.loss.unjudged = 4
    assert play(script, "-o", "x.arrow", "-c", "skb", "-p", "ip_rcv", "-p", RX, "-f", "ether[0] = 1") == 0
    said = capsys.readouterr().err.splitlines()
    assert said[-2:] == [
        "warning: 4 packet(s) did not pass because what the filter looks at is not in the packet's linear "
        "area (by probe: ip_rcv 4)",
        "warning: 4 packet(s) did not pass because the filter looks at link-layer headers, and they have "
        "none yet (by probe: net:netif_receive_skb 4)",
    ]


def test_a_closed_pipe_ends_it_quietly(
    play: Callable[..., int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def gone(_self: object, _pieces: object) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    script = Script(batch(1))
    monkeypatch.setattr("fyke.cli.live_text.LiveText.write", gone)
    monkeypatch.setattr("fyke.cli.main._closed_pipe", lambda: 0)
    assert play(script) == 0
    assert "error" not in capsys.readouterr().err
    assert script.closed


def test_nobody_is_told_ready_before_events_flow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seeing beforehand that it can be written must not make the file, not even for a moment."""
    made = []
    real = os.open

    def note(path: str, *rest: int) -> int:
        made.append(path)
        return real(path, *rest)

    monkeypatch.setattr(os, "open", note)
    check_ready_file(str(tmp_path / "ready"))
    assert made, "it is tried"
    assert str(tmp_path / "ready") not in made
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("ready")]
