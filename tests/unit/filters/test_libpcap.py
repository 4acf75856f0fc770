"""libpcap's binding and the system's library: one compiler, one result."""

from __future__ import annotations

import ctypes
import sys

import pytest

from fyke.errors import Unsupported
from fyke.filters.pcap import libpcap
from fyke.filters.pcap.libpcap import LINKS, Refused

EXPRESSIONS = (
    "ip",
    "icmp and host 10.0.0.1",
    "tcp[tcpflags] & tcp-syn != 0 and portrange 1-1024",
    "vlan and ip6 and not udp port 53",
    "ether host 02:00:00:00:00:01",
    "host 10.0.0.",
    "tcp and udp",
    "no such",
)


def outcome(text: str, link: str) -> list[libpcap.Insn] | str:
    try:
        return libpcap.compiled(text, link, 262_144, optimise=True)
    except Refused as refused:
        return refused.reason


@pytest.fixture
def no_binding(monkeypatch: pytest.MonkeyPatch) -> None:
    """cypcap can't be imported, as where it has no wheel."""
    monkeypatch.setitem(sys.modules, "cypcap", None)
    libpcap._system.cache_clear()


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("text", EXPRESSIONS)
def test_both_compile_the_same(text: str, link: str, request: pytest.FixtureRequest) -> None:
    by_binding = outcome(text, link)
    shown = libpcap.disassembled(by_binding) if isinstance(by_binding, list) else ""
    request.getfixturevalue("no_binding")
    by_system = outcome(text, link)
    if isinstance(by_binding, str):
        assert by_system == by_binding
    else:
        assert by_system == by_binding
        assert libpcap.disassembled(by_binding) == shown


@pytest.mark.usefixtures("no_binding")
def test_without_either_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(name: str) -> ctypes.CDLL:
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", nowhere)
    with pytest.raises(Unsupported, match=r"packet filters need libpcap") as found:
        libpcap.compiled("ip", "RAW", 262_144, optimise=True)
    assert "libpcap0.8" in str(found.value.hint)
