"""What `fyke inspect` lists can be attached to, and no other user is told anything else."""

from __future__ import annotations

import subprocess

import pytest

from fyke.capture.probeable import Inspection
from live.pages import FYKE
from live.recording import kernel, record


@pytest.mark.ends_only
def test_every_tracepoint_that_is_listed_can_be_attached_to() -> None:
    found = [one.probe for one in Inspection(kernel(), ("dev", "ns")).find("tp:*")]
    assert {"tp:net:netif_receive_skb", "tp:sock:inet_sock_set_state", "tp:napi:napi_poll"} <= set(found)
    done = record(lambda: None, collectors=("dev", "ns"), probes=tuple(found))
    assert {f"tp:{probe.symbol}" for probe in done.plan.probes} == set(found)


@pytest.mark.ends_only
@pytest.mark.needs("kprobe_multi")
def test_functions_that_are_listed_can_be_attached_to() -> None:
    """The kernel takes all of them or none; a pattern would leave out what it refuses."""
    collectors = ("ns", "skb", "skb-drop")
    found = [one.probe for one in Inspection(kernel(), collectors).find("kprobe:*")]
    assert len(found) > 3000
    done = record(lambda: None, collectors=collectors, probes=tuple(found[::10]))
    # skb-drop has a probe of its own besides.
    assert set(found[::10]) <= {f"kprobe:{probe.symbol}" for probe in done.plan.probes}


@pytest.mark.host_only
def test_nobody_needs_to_be_root() -> None:
    """Without tracefs a tracepoint's subsystem is that of Linux' headers, for those of networking."""
    command = [str(FYKE), "inspect", "-p", "tp:net:*", "-p", "tp:skb:*"]
    done = subprocess.run(command, user=65534, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    ours = [one.probe for pattern in ("net:*", "skb:*") for one in Inspection(kernel()).find(pattern)]
    assert done.stdout.splitlines() == sorted(ours)
