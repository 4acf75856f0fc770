"""`fyke collect` with no options."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from fyke.cli import first_time
from fyke.cli.main import parser_of
from fyke.kernel import ancestors


def parsed(*words: str) -> argparse.Namespace:
    return parser_of("collect").parse_args(words)


def test_alone_is_no_option_at_all() -> None:
    assert first_time.is_alone(parsed())
    for words in (["-p", "ip_rcv"], ["-o"], ["--utc"], ["-f", "icmp"], ["--color", "always"]):
        assert not first_time.is_alone(parsed(*words))
    profiled = parsed()
    profiled.expanded = []
    assert not first_time.is_alone(profiled)


CONNECTIONS = {
    "192.0.2.7 5555 192.0.2.1 22": ("192.0.2.7", 5555),
    "2001:db8::7 5555 2001:db8::1 22": ("2001:db8::7", 5555),
    "fe80::1%eth0 5555 fe80::2%eth0 22": ("fe80::1", 5555),
    "": None,
    "192.0.2.7": None,
    "192.0.2.7 x 192.0.2.1 22": None,
    "192.0.2.7 99999 192.0.2.1 22": None,
    "host) or (tcp 22 x 1": None,
}


@pytest.mark.parametrize(("text", "expected"), CONNECTIONS.items())
def test_ssh_connection(text: str, expected: tuple[str, int] | None) -> None:
    assert first_time.ssh_connection(text) == expected


@pytest.mark.parametrize(
    ("connection", "terminal", "expression"),
    [
        ("192.0.2.7 5555 192.0.2.1 22", True, "not (host 192.0.2.7 and tcp port 5555)"),
        ("fe80::1%eth0 5555 fe80::2%eth0 22", True, "not (host fe80::1 and tcp port 5555)"),
        ("192.0.2.7 5555 192.0.2.1 22", False, None),
        (None, True, None),
    ],
)
def test_its_own_connection_is_left_out_on_a_terminal_over_ssh(
    connection: str | None, terminal: bool, expression: str | None
) -> None:
    from fyke.filters.pcap.compile import compile_packet_filter

    args = parsed()
    asked = {"SSH_CONNECTION": connection}
    told = "\n".join(first_time.begin(args, asked.get, terminal=terminal))
    assert args.filter_packet == expression
    if expression:
        compile_packet_filter(expression)
    assert ("own connection is left out" in told) == (expression is not None)
    assert "Ctrl-C ends it" in told
    assert "fyke profile list" in told


def test_what_an_ancestor_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for pid, parent, environ in ((50, 40, b"A=1\0B=2\0"), (40, 30, b"XC=no\0C=\xff=3\0"), (30, 1, b"C=4\0")):
        folder = tmp_path / str(pid)
        folder.mkdir()
        (folder / "stat").write_bytes(b"%d (a) b) (c) S %d 0 0" % (pid, parent))
        (folder / "environ").write_bytes(environ)
    monkeypatch.setattr(ancestors.os, "getppid", lambda: 50)
    monkeypatch.delenv("C", raising=False)
    assert ancestors.inherited("B", tmp_path) == "2"
    assert ancestors.inherited("C", tmp_path) == "\udcff=3"
    assert ancestors.inherited("D", tmp_path) is None
    (tmp_path / "40" / "environ").unlink()
    assert ancestors.inherited("C", tmp_path) == "4"
    (tmp_path / "40" / "stat").unlink()
    assert ancestors.inherited("C", tmp_path) is None
    monkeypatch.setenv("C", "own")
    assert ancestors.inherited("C", tmp_path) == "own"
