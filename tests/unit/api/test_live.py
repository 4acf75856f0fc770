"""`fyke.collect` with sessions that follow a script: what is yielded, what is told, and what is left."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from made_session import RING_FULL, Script, batch, on_made_kernel

import fyke
from fyke.capture import run as run_module

RX = "net:netif_receive_skb"


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    on_made_kernel(monkeypatch, tmp_path)
    monkeypatch.setattr(run_module, "LOSS_SECONDS", -1)


def with_script(monkeypatch: pytest.MonkeyPatch, script: Script) -> Script:
    monkeypatch.setattr("fyke.capture.session.Session", lambda plan, kernel: script.begin(plan, kernel, None))
    script.close = lambda: setattr(script, "closed", True)  # type: ignore[attr-defined]
    return script


def test_batches_as_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    script = with_script(monkeypatch, Script(batch(1, 2), None, batch(3), batch(4, 5), gaps=([RING_FULL],)))
    with fyke.collect(probes=[RX, "ip_rcv"], collectors=["dev"], filter="icmp", stop_after=4) as c:
        seen = list(c)
        assert c.loss.events == 4
        assert c.loss.by_cause == {"ring_full": 3, "recursion": 1}
        assert c.loss.by_probe == {RX: 3}
        assert c.facts.probes[0]["symbol"] == RX
    rows = [row for one in seen for row in one.to_pylist()]
    assert [r["timestamp_ns"] for r in rows if r["gap"] is None and r["closing"] is None] == [1, 2, 3, 4]
    assert [r["gap"]["count"] for r in rows if r["gap"]] == [3]
    assert rows[-1]["closing"]["events"] == 4
    assert script.closed
    assert script.flushed == [True] * 4
    assert c.loss.events == 4
    assert c.loss


def test_events_without_notes(monkeypatch: pytest.MonkeyPatch) -> None:
    with_script(monkeypatch, Script(batch(1, 2), rest=(), gaps=([RING_FULL],)))
    with fyke.collect(stop_after=2) as c:
        assert [event.timestamp_ns for event in c.events()] == [1, 2]


def test_a_loop_may_be_left_and_another_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    with_script(monkeypatch, Script(batch(1), batch(2), batch(3)))
    with fyke.collect(stop_after=3) as c:
        for one in c:
            assert one.column("timestamp_ns").to_pylist() == [1]
            break
        assert [event.timestamp_ns for event in c.events()] == [2, 3]


def test_stop_from_another_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop() -> None:
        thread = threading.Thread(target=c.stop)
        thread.start()
        thread.join()

    with_script(monkeypatch, Script(batch(1), stop, rest=(batch(2),)))
    with fyke.collect() as c:
        assert [event.timestamp_ns for event in c.events()] == [1, 2]
    c.stop()  # harmless


@pytest.mark.parametrize("raised", [KeyboardInterrupt, ValueError, None])
def test_whatever_ends_the_block_ends_the_collection(
    raised: type[BaseException] | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    descriptors = len(os.listdir("/proc/self/fd"))
    script = with_script(monkeypatch, Script(batch(1), batch(2)))

    def use() -> None:
        with fyke.collect(command="sleep 1000") as c:
            next(iter(c))
            if raised is not None:
                raise raised

    if raised is None:
        use()
    else:
        with pytest.raises(raised):
            use()
    assert script.closed
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_the_end_of_a_command_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class Waiting(Script):
        def poll(self, *, flush: bool) -> None:
            return None

        def wait(self, seconds: float) -> None:
            import select

            select.select(self.watched, [], [], 10)

    with_script(monkeypatch, Waiting(rest=(batch(1),)))
    with fyke.collect(command="true") as c:
        assert [event.timestamp_ns for event in c.events()] == [1]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"probes": "ip_rcv"}, "probes is a string"),
        ({"collectors": "dev"}, "collectors is a string"),
        ({"snaplen": 0}, "snaplen 0 is not between"),
        ({"buffer": "64"}, "has no unit"),
        ({"buffer": 0}, "buffer 0 is nothing"),
        ({"stop_after": 0}, "stop_after 0 is less than 1"),
        ({"command": " "}, "the command is empty"),
        ({"filter": "icmp and"}, "syntax error"),
        ({"probes": ["nosuch_function"]}, "nosuch_function"),
        ({"collectors": ["nosuch"]}, "nosuch"),
    ],
)
def test_wrong_use_is_told_before_anything_begins(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(fyke.FykeError, match=said):
        fyke.collect(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"probes": [5]}, "one of probes is 5, not a string"),
        ({"filter": 5}, "filter is 5, not a string"),
        ({"command": ["true"]}, "command is .'true'., not a string"),
        ({"pid": "5"}, "pid is '5', not a whole number"),
        ({"stop_after": True}, "stop_after is True"),
        ({"buffer": 1.5}, "buffer is 1.5, not a whole number"),
    ],
)
def test_types(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(TypeError, match=said):
        fyke.collect(**wrong)  # type: ignore[arg-type]


def test_a_collection_says_what_it_is() -> None:
    collection = fyke.collect(probes=[RX], collectors=["dev"])
    symbols = [probe.symbol for probe in collection.plan.probes]
    assert repr(collection) == f"<Collection at {', '.join(symbols[:3])}>"
    collection = fyke.collect(probes=[RX])  # and those of tracking
    assert repr(collection).startswith(f"<Collection at {RX}, ")
    assert repr(collection).endswith(f" and {len(collection.plan.probes) - 3} more>")


def test_what_probe_stack_found(monkeypatch: pytest.MonkeyPatch) -> None:
    script = Script(batch(1))
    with_script(monkeypatch, script)
    with pytest.raises(fyke.UsageError, match="needs a filter"):
        fyke.collect(probe_stack=True)
    c = fyke.collect(probe_stack=True, filter="icmp", stop_after=1)
    assert c.plan.adds == "kprobe_multi"
    assert c.added == ()
    with c:
        script.added = ("ip_rcv", "ip_output")
        assert c.added == ("ip_rcv", "ip_output")
    assert c.added == ("ip_rcv", "ip_output")


def test_outside_of_its_block(monkeypatch: pytest.MonkeyPatch) -> None:
    with_script(monkeypatch, Script(batch(1)))
    c = fyke.collect(stop_after=1)
    for use in (lambda: iter(c), lambda: c.facts):
        with pytest.raises(fyke.UsageError, match="has not begun"):
            use()
    assert not c.loss
    with c:
        pass
    with pytest.raises(fyke.UsageError, match="can be run once"), c:
        pass
