"""`fyke collect --probe-stack`: what the plan says, and what is found as a profile."""

from __future__ import annotations

import json
import shlex
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import pytest
import yaml
from made_session import Script, on_made_kernel

from fyke.capture.plan import Plan
from fyke.capture.planned import PlannedProbe
from fyke.cli.main import main

RX = "net:netif_receive_skb"


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The user's folder of profiles, which isn't there yet."""
    on_made_kernel(monkeypatch, tmp_path)
    monkeypatch.setenv("FYKE_CONFIG_DIR", str(tmp_path / "config"))
    return tmp_path / "config" / "profiles"


class Finding(Script):
    """A collection that finds functions, and is interrupted then."""

    def __init__(self, *found: str) -> None:
        super().__init__(lambda: signal.raise_signal(signal.SIGINT))
        self.added = found

    def begin(self, plan: Plan, kernel: object, progress: object) -> Self:
        new = [PlannedProbe(name, plan.adds, frozenset(), {}, added_ns=1) for name in self.added]
        return super().begin(replace(plan, probes=[*plan.probes, *new]), kernel, progress)


def collect(monkeypatch: pytest.MonkeyPatch, session: Script, *words: str) -> int:
    monkeypatch.setattr("fyke.capture.session.Session", session.begin)
    return main(["collect", "-o", "new.arrow", "--probe-stack", *words])


def test_what_is_found_is_a_profile_with_what_was_asked_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "expr").write_text("icmp or\narp\n")
    line = ["-c", "skb,ns", "-p", f"{RX}/stack", "-F", "expr", "-m", "sk_buff.mark == 1", "--snaplen", "64"]
    line += ["--pid", "1", "--stop-after", "9"]
    monkeypatch.setattr("fyke.capture.plan.plan_filters", _no_fields)
    assert collect(monkeypatch, Finding("ip_rcv", "ip_output"), *line, "--save-profile", "way") == 0
    path = folder / "way.yaml"
    said = capsys.readouterr().err
    assert f"saved {path} with 2 functions: fyke -p way collect" in said
    saved = yaml.safe_load(path.read_text())
    assert saved["name"] == "way"
    assert saved["about"].startswith("Found by --probe-stack on Linux ")
    assert saved["collect"] == [
        {
            "args": {
                "collectors": ["skb,ns"],
                "probe": [f"{RX}/stack", "ip_rcv", "ip_output"],
                "filter-packet": "icmp or\narp",
                "filter-meta": "sk_buff.mark == 1",
                "snaplen": "64",
            }
        }
    ]
    assert main(["profile", "check", "way"]) == 0
    assert main(["-p", "way", "collect", "--dry-run", "--json", "-c", "dev"]) == 0
    plan = json.loads(capsys.readouterr().out.partition("right\n")[2])
    asked = [probe["symbol"] for probe in plan["probes"] if probe["asked"]]
    assert asked == [RX, "ip_rcv", "ip_output"]


def _no_fields(parsed: Any, _kernel: object) -> Any:
    from fyke.capture.filters import Filters

    return Filters(parsed.packet)


def test_seeds_nobody_named_are_in_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert collect(monkeypatch, Finding("ip_rcv"), "-f", "icmp", "--save-profile", "usual") == 0
    args = yaml.safe_load((folder / "usual.yaml").read_text())["collect"][0]["args"]
    assert args == {
        "probe": ["tp:skb:consume_skb", "tp:skb:kfree_skb", "ip_rcv"],
        "filter-packet": "icmp",
    }


def test_nothing_found_is_nothing_saved(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert collect(monkeypatch, Finding(), "-f", "icmp", "--save-profile", "none") == 0
    assert "warning: no function was found, so profile none is not saved" in capsys.readouterr().err
    assert not folder.exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("there", "there is a file {folder}/there.yaml already"),
        ("inside", "there is a profile inside in {folder}/there.yaml already"),
        ("a/b", "'a/b' can't be the name of a profile"),
    ],
)
def test_what_cant_be_saved_is_said_before_anything_is_collected(
    name: str, message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.mkdir(parents=True)
    text = "version: 1.0\nname: inside\ncollect: [{args: {}}]\n"
    (folder / "there.yaml").write_text(text)
    assert main(["collect", "--probe-stack", "-f", "icmp", "--save-profile", name]) == 2
    error = capsys.readouterr().err.splitlines()[0]
    assert error == f"error: {message.format(folder=folder)}"
    assert (folder / "there.yaml").read_text() == text


def test_the_plan_says_what_will_be_added(capsys: pytest.CaptureFixture[str]) -> None:
    line = shlex.split("collect --dry-run --probe-stack -f icmp -c skb,skb-tracking -p " + RX)
    assert main([*line, "--max-probes", "40"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert (
        "adds: functions on the way of packets that match, by kprobe_multi, as they are found, up to 40 "
        "probes in all" in shown
    )
    assert main([*line, "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["adds"] == {"mechanism": "kprobe_multi", "max_probes": 2048}
    assert plan["memory"]["stacks"] > 0
