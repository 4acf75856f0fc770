"""`fyke inspect`, in process, on types that are read from nowhere."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from fyke.capture import probeable
from fyke.capture.probeable import Probeable
from fyke.cli.main import main
from fyke.errors import UsageError
from fyke.kernel.btf import Param

SKB = Param("skb", 1, "struct sk_buff *")
FOUND = [
    Probeable(
        "kprobe",
        "nft_do_chain",
        "nf_tables",
        ("kprobe_multi", "fentry"),
        ("skb", "ns"),
        (SKB,),
        {"skb": "skb"},
    ),
    Probeable("raw_tracepoint", "odd:na\x1bme", "", ("raw_tracepoint",), ("ns",), (), {"net": "sk->net"}),
    Probeable("kprobe", "a", "", (), ("dev",), (), {"dev": "dev"}),
]


class MadeInspection:
    notes: tuple[str, ...] = ("some are left out",)

    def __init__(self, _kernel: object, collectors: list[str], *, everything: bool) -> None:
        self.notes = (f"asked for {collectors}, {everything}",)

    def find(self, text: str) -> list[Probeable]:
        if text == "none":
            raise UsageError("there is none", "near: one")
        return FOUND if text == "*" else FOUND[:1]


@pytest.fixture
def says(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    def run(*argv: str) -> tuple[int, str, str]:
        monkeypatch.setattr(probeable, "Inspection", MadeInspection)
        code = main(["inspect", *argv])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_a_line_for_each_sorted_and_once(says: Callable[..., tuple[int, str, str]]) -> None:
    code, out, err = says("-p", "x", "-p")
    assert (code, out) == (0, "kprobe:a\nkprobe:nft_do_chain\ntp:odd:na\\x1bme\n")
    assert err == "note: asked for [], False\n"


def test_a_table(says: Callable[..., tuple[int, str, str]]) -> None:
    _, out, err = says("-p", "-l", "-c", "skb,ns", "--all")
    assert out.splitlines() == [
        "PROBE                            MECHANISMS           COLLECTORS  FROM",
        "kprobe:a                         none here            dev         dev: dev",
        "kprobe:nft_do_chain [nf_tables]  kprobe_multi,fentry  skb,ns      skb: skb",
        "tp:odd:na\\x1bme                  raw_tracepoint       ns          net: sk->net",
    ]
    assert err == "note: asked for ['skb', 'ns'], True\n"


def test_json(says: Callable[..., tuple[int, str, str]]) -> None:
    _, out, err = says("--probe", "--json")
    facts = json.loads(out)
    assert err == ""
    assert facts["notes"] == ["asked for [], False"]
    assert facts["probes"][1] == {
        "probe": "kprobe:nft_do_chain",
        "type": "kprobe",
        "symbol": "nft_do_chain",
        "module": "nf_tables",
        "mechanisms": ["kprobe_multi", "fentry"],
        "collectors": ["skb", "ns"],
        "arguments": [{"name": "skb", "type": "struct sk_buff *"}],
        "found": {"skb": "skb"},
    }


def test_an_argument_is_needed_and_an_error_is_one(says: Callable[..., tuple[int, str, str]]) -> None:
    code, out, err = says()
    assert (code, out) == (2, "")
    assert err.startswith("error: inspect needs to know what to look for\nhint: give -p PATTERN")
    assert says("-p", "none") == (2, "", "error: there is none\nhint: near: one\n")
