"""`fyke collect` and the tables of nftables that have packets traced; none is made here."""

from __future__ import annotations

import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from made_kernel import made_kernel
from made_session import Script, on_made_kernel

from fyke.capture import trace_table
from fyke.capture.begin import checked_options
from fyke.capture.filters import FilterOptions
from fyke.capture.trace_table import UNTRACED, trace_tables
from fyke.cli.main import main
from fyke.errors import Unsupported
from fyke.kernel import netns

REFUSED = Unsupported("packets can't be traced through nftables: no", "leave it out")


class Tables:
    """Stands in for `TraceTables`."""

    def __init__(self, inodes: Any, packet_filter: Any) -> None:
        self.asked = list(inodes), packet_filter and packet_filter.text
        self.note = "" if packet_filter is None or packet_filter.raw else "all packets are traced"
        self.closed = False
        MADE.append(self)

    def close(self) -> None:
        self.closed = True

    def __enter__(self) -> Tables:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


MADE: list[Tables] = []


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    on_made_kernel(monkeypatch, tmp_path)
    MADE.clear()
    monkeypatch.setattr("fyke.kernel.view.LiveKernel", partial(made_kernel, nft="new"))
    monkeypatch.setattr("fyke.kernel.tracepoints.available_events", list)
    monkeypatch.setattr(netns, "own_inode", lambda: 4711)
    monkeypatch.setattr("fyke.kernel.xtables.legacy_tables", lambda _: [])
    monkeypatch.setattr(trace_table, "TraceTables", Tables)


def collect(monkeypatch: pytest.MonkeyPatch, *arguments: str, unfinished: bool = False) -> int:
    def interrupt() -> None:
        assert [made.closed for made in MADE] == [unfinished] * len(MADE)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("fyke.capture.session.Session", Script(interrupt).begin)
    return main(["collect", "-o", "x.arrow", *arguments])


def test_without_the_option_nothing_is_made_and_the_user_is_told_how(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert collect(monkeypatch, "-c", "skb,nft", "-p", "ip_rcv") == 0
    assert MADE == []
    assert capsys.readouterr().err.splitlines()[-1] == UNTRACED


def test_nobody_is_told_who_collects_something_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert collect(monkeypatch, "-c", "skb", "-p", "ip_rcv", "--allow-system-changes") == 0
    assert MADE == []
    assert UNTRACED not in capsys.readouterr().err


@pytest.mark.parametrize("collectors", ["nft,skb", "auto"])
def test_tables_are_there_while_it_collects(monkeypatch: pytest.MonkeyPatch, collectors: str) -> None:
    assert collect(monkeypatch, "-c", collectors, "--allow-system-changes", "-f", "icmp") == 0
    assert [(made.asked, made.closed) for made in MADE] == [(([4711], "icmp"), True)]


def test_in_the_namespace_that_is_named(caplog: pytest.LogCaptureFixture) -> None:
    filters = FilterOptions(netns="4026531999", packet="ether[0] == 1")
    with caplog.at_level("INFO"):
        trace_tables(checked_options(collectors=("nft",), filters=filters))
    assert [made.asked for made in MADE] == [([4026531999], "ether[0] == 1")]
    assert "all packets are traced" in caplog.text
    caplog.clear()
    with caplog.at_level("INFO"):
        trace_tables(checked_options(collectors=("nft",), filters=FilterOptions(inner="icmp", packet="udp")))
        assert caplog.text == ""
        trace_tables(checked_options(collectors=("nft",), filters=FilterOptions(inner="icmp")))
    assert "--filter-inner can't be said" in caplog.text


def test_rules_of_iptables_legacy_are_mentioned(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("fyke.kernel.xtables.legacy_tables", lambda _: ["filter", "ip6 nat"])
    assert collect(monkeypatch, "-c", "nft,skb") == 0
    assert "iptables-legacy, which is in use (tables filter, ip6 nat)" in capsys.readouterr().err
    assert collect(monkeypatch, "-c", "skb", "-p", "ip_rcv") == 0
    assert "iptables" not in capsys.readouterr().err


def test_a_dry_run_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["collect", "-c", "nft", "--allow-system-changes", "--dry-run"]) == 0
    assert MADE == []


def test_tables_that_can_not_be_made_end_only_what_needs_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise REFUSED

    monkeypatch.setattr(trace_table, "TraceTables", refuse)
    assert collect(monkeypatch, "-c", "nft,skb", "--allow-system-changes") == 2
    assert capsys.readouterr().err == f"error: {REFUSED.message}\nhint: {REFUSED.hint}\n"
    assert collect(monkeypatch, "--allow-system-changes") == 0
    assert f"warning: {REFUSED.message}" in capsys.readouterr().err


def test_a_kernel_that_collects_no_verdicts_gets_no_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fyke.kernel.view.LiveKernel", made_kernel)
    assert collect(monkeypatch, "--allow-system-changes", unfinished=True) == 0
    assert [made.closed for made in MADE] == [True]
    assert main(["collect", "-c", "nft", "--allow-system-changes"]) == 2
    assert [made.closed for made in MADE] == [True, True]
