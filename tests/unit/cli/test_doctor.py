"""fyke doctor on answers made up here."""

from __future__ import annotations

import argparse
import json

import pytest

from fyke.capture import trace_table
from fyke.cli import doctor
from fyke.kernel import features
from fyke.kernel.features import FEATURES, Answer
from fyke.kernel.machine import Machine
from fyke.kernel.nfnetlink import Table

FACTS = Machine("6.1.0-50-amd64", "#1 SMP", "x86_64", "web1")


def answers(**states: str) -> list[tuple[features.Feature, Answer]]:
    return [(f, Answer(states.get(f.name, "yes"), "because" if f.name in states else "")) for f in FEATURES]  # type: ignore[arg-type]


TABLE = Table("inet", b"fyke_trace_1_2_3", 9, False)
LEFT: list[tuple[str, Table]] = []


class Fake:
    states: dict[str, str] = {}  # noqa: RUF012

    def __getitem__(self, name: str) -> Answer:
        return Answer(self.states.get(name, "yes"))  # type: ignore[arg-type]


def doctor_says(monkeypatch: pytest.MonkeyPatch, *argv: str, **states: str) -> int:
    monkeypatch.setattr(features, "Features", Fake)
    monkeypatch.setattr(trace_table, "all_leftovers", lambda: LEFT)
    monkeypatch.setattr(Fake, "states", states)
    parser = argparse.ArgumentParser()
    doctor.add_arguments(parser)
    return doctor.run(parser.parse_args(argv))


def test_a_machine_with_everything(monkeypatch, capsys) -> None:  # type: ignore[no-untyped-def]
    assert doctor_says(monkeypatch) == 0
    out = capsys.readouterr().out
    assert "fyke can collect here.\n" in out
    assert "missing" not in out


@pytest.mark.parametrize("state", ["no", "unknown"])
def test_what_is_needed_decides_the_exit_code(monkeypatch, capsys, state: str) -> None:  # type: ignore[no-untyped-def]
    assert doctor_says(monkeypatch, ringbuf=state) == 1
    assert "fyke can't collect here" in capsys.readouterr().out
    assert doctor_says(monkeypatch, kprobe=state) == 0
    capsys.readouterr()


def test_for_what_is_missing_it_says_what_is_lost_and_what_to_do() -> None:
    lines = doctor.to_text(FACTS, answers(kprobe="no"), True)
    kprobe = next(f for f in FEATURES if f.name == "kprobe")
    at = lines.index("  kprobes: because")
    text = " ".join(line.strip() for line in lines[at:])
    assert f"lost: {kprobe.lost}" in text
    assert f"fix:  {kprobe.fix}" in text
    assert "1 thing is missing" in lines[0]
    assert lines[0].startswith("Linux 6.1.0-50-amd64 on x86_64:")
    assert all(len(line) <= 100 for line in lines)


def test_what_could_not_be_told_is_grouped_by_reason() -> None:
    lines = doctor.to_text(FACTS, answers(bpf="no", fentry="unknown", kprobe="unknown"), False)
    at = lines.index("This could not be told: because")
    assert lines[at + 1 : at + 3] == ["  kprobes", "  fentry and fexit"]
    assert lines[0].endswith("fyke can't collect here: because.")


def test_cookies_for_kprobes_are_not_praised_where_there_are_no_kprobes(monkeypatch, capsys) -> None:  # type: ignore[no-untyped-def]
    doctor_says(monkeypatch, "--json", kprobe="no")
    names = {f["name"] for f in json.loads(capsys.readouterr().out)["features"]}
    assert "kprobe" in names
    assert "kprobe_cookie" not in names


def test_json_has_every_answer(monkeypatch, capsys) -> None:  # type: ignore[no-untyped-def]
    assert doctor_says(monkeypatch, "--json", fentry="no") == 0
    found = json.loads(capsys.readouterr().out)
    by_name = {f["name"]: f for f in found["features"]}
    assert by_name.keys() == {f.name for f in FEATURES}
    assert found["works"] is True
    assert by_name["fentry"]["state"] == "no"
    assert by_name["fentry"]["lost"]
    assert by_name["btf"]["lost"] is None
    assert by_name["btf"]["needed"] is True


def test_what_a_killed_collection_left(monkeypatch, capsys) -> None:  # type: ignore[no-untyped-def]
    assert doctor_says(monkeypatch) == 0
    assert "left" not in capsys.readouterr().out
    monkeypatch.setitem(globals(), "LEFT", [("", TABLE), ("a b\x1b", TABLE)])
    assert doctor_says(monkeypatch) == 0
    text = capsys.readouterr().out
    lines = [line.strip() for line in text[text.index("A collection that was killed") :].splitlines()]
    assert lines[1:3] == [
        "the nftables table inet fyke_trace_1_2_3 in this network namespace",
        "fix:  nft delete table inet fyke_trace_1_2_3",
    ]
    assert lines[3] == r"the nftables table inet fyke_trace_1_2_3 in the network namespace a b\x1b"
    assert "ip netns exec 'a b\\x1b' nft delete" in text
    assert doctor_says(monkeypatch, "--json") == 0
    assert json.loads(capsys.readouterr().out)["leftovers"][0] == {
        "netns": None,
        "family": "inet",
        "table": "fyke_trace_1_2_3",
        "fix": "nft delete table inet fyke_trace_1_2_3",
    }
