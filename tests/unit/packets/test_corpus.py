"""Every packet line that Retis' own binary printed for recorded traffic, with and without `-e`."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from retis_differences import agree

from fyke.packets import text

CORPUS = Path(__file__).parents[2] / "data" / "retis"


@pytest.mark.parametrize("printed", ["print.txt", "print-e.txt"])
@pytest.mark.parametrize("sample", ["basic-default", "basic-stack-kretprobe", "nft-verdicts"])
def test_packet_lines(sample: str, printed: str) -> None:
    events = [json.loads(line) for line in (CORPUS / sample / "events.json").read_text().splitlines()]
    blocks = (CORPUS / sample / printed).read_text().removesuffix("\n\n").split("\n\n")
    compared = 0
    for event, block in zip(events, blocks, strict=True):
        if packet := event.get("packet"):
            data = base64.b64decode(packet["data"])
            ours = text(data, packet["len"], link_layer=printed == "print-e.txt")
            # A stack trace is indented deeper and comes before the packet.
            theirs = next(line for line in block.splitlines()[1:] if not line.startswith("    "))
            assert agree(theirs.removeprefix("  "), ours)
            compared += 1
    assert compared > 10
