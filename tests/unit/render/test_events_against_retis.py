"""Any event of sections that Retis has too: its own library, reading our JSON, prints the same."""

from __future__ import annotations

import base64
import json
import os
import re
import tempfile
from pathlib import Path
from typing import Any

import retis
from connection_samples import tracked
from hypothesis import given, settings
from hypothesis import strategies as st
from render_samples import CORPUS, FACTS, batch, text

from fyke.events.retis.write import RetisWriter

os.environ["RUST_BACKTRACE"] = "0"


def _corpus_packets() -> list[bytes]:
    found = set()
    for path in sorted(CORPUS.glob("*/events.json")):
        for line in path.read_text().splitlines():
            if (packet := json.loads(line).get("packet")) is not None:
                found.add(base64.b64decode(packet["data"]))
    return sorted(found)


# Text that both show alike (docs/differences.md: ours is escaped, Retis' is not).
_name = st.text(st.sampled_from("abz019-_:.é <>()[]/"), max_size=15)
_u8, _u16, _u32, _u64 = (st.integers(0, 2**bits - 1) for bits in (8, 16, 32, 64))
_small = st.integers(0, 2)


def _section(**columns: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | st.fixed_dictionaries(columns)


_packet = st.sampled_from(_corpus_packets()).map(lambda d: {"len": len(d), "capture_len": len(d), "data": d})
_events = st.fixed_dictionaries(
    {
        "timestamp_ns": _u64,
        "cpu": _u32,
        "task": _section(
            pid=st.integers(0, 9) | st.integers(0, 2**31 - 1), tgid=st.integers(0, 9), comm=_name
        ),
        "kernel": st.fixed_dictionaries(
            {
                "symbol": _name,
                "probe_type": st.sampled_from(
                    ["raw_tracepoint", "kprobe", "kprobe_multi", "fentry", "kretprobe", "fexit"]
                ),
                "stack": st.none() | st.lists(_name.filter(bool), min_size=1, max_size=3),
            }
        ),
        "nft": _section(
            table_name=_name,
            chain_name=_name,
            verdict=st.sampled_from(["drop", "accept", "jump", "continue"]),
            verdict_chain_name=st.none() | _name,
            table_handle=_u32,
            chain_handle=_u32,
            rule_handle=st.none() | _u32,
            policy=st.booleans(),
        ),
        "skb_tracking": _section(orig_head=_u64, timestamp_ns=_u64 | _small, skb=_u64),
        "skb_drop": _section(subsys=st.none() | _name.filter(bool), drop_reason=_name),
        "packet": st.none() | _packet,
        "vlan_accel": _section(proto=_u16, pcp=_small, dei=st.booleans(), vid=_u16),
        "skb_meta": _section(
            len=_u32,
            data_len=_small,
            hash=_u32 | _small,
            ip_summed=st.integers(0, 5),
            csum=_u32,
            csum_level=_small,
            priority=_u32,
        ),
        "skb_dataref": _section(
            nohdr=st.booleans(), cloned=st.booleans(), fclone=_small, users=_u8, dataref=_u8
        ),
        "skb_gso": _section(flags=_u8 | _small, frags=_small, size=_u32, segs=_u32 | _small, type=_u32),
        "netns": _section(cookie=st.none() | _u64, inum=_u32),
        "dev": _section(name=_name, ifindex=_u32, rx_ifindex=st.none() | _u32),
    }
)


@st.composite
def _rows(draw: st.DrawFn) -> dict[str, Any]:
    row = draw(_events)
    return row | draw(tracked()) if draw(st.booleans()) else row


@settings(max_examples=30, deadline=None)
@given(st.lists(_rows(), min_size=1, max_size=10))
def test_the_same_text(rows: list[dict[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "events.json")
        with RetisWriter(path, FACTS) as writer:
            writer.write(batch(rows))
        theirs = [str(event) for event in retis.EventReader(path)][1:]
    # Retis leaves a blank for the zone of a connection without one.
    theirs = [re.sub(r"(?m)(reply \[[^]]*\]) (?= |\]?$)", r"\1", event) for event in theirs]
    assert text(rows) == "".join(f"{event}\n\n" for event in theirs)
