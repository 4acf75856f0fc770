"""fyke latency and fyke diff as their users run them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fyke.cli.main import main

CORPUS = Path(__file__).parents[2] / "data" / "retis"
PING, NFT = (str(CORPUS / name / "events.json") for name in ("nat-ping", "nft-verdicts"))


def said(capfd: pytest.CaptureFixture[str]) -> tuple[str, list[str]]:
    out, err = capfd.readouterr()
    return out, [line for line in err.splitlines() if not line.startswith("warning: ")]


def test_latency_as_text(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["latency", PING, "--top", "2"]) == 0
    out, err = said(capfd)
    assert err == []
    parts = [part.splitlines() for part in out.split("\n\n")]
    assert [part[0].partition(",")[0].rstrip(":") for part in parts] == [
        "Hops",
        "Paths",
        "Slowest packets",
        "Time of packets from first to last point",
    ]
    assert parts[0][1].split() == ["hop", "count", "p50", "p90", "p99", "max", "total"]
    assert parts[0][-1] == "  and 8 hops more (--top)"
    assert len(parts[2]) == 2 + 2


def test_latency_as_json(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["latency", PING, "--json"]) == 0
    facts = json.loads(said(capfd)[0])
    assert set(facts) == {"hops", "paths", "slowest", "histogram"}
    assert sum(bucket["count"] for bucket in facts["histogram"]) == sum(
        row["count"] for row in facts["paths"]
    )


def test_latency_of_what_a_filter_leaves(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["latency", PING, "--json", "-f", "icmp[icmptype] == icmp-echo", "--journeys"]) == 0
    some = json.loads(said(capfd)[0])
    assert main(["latency", PING, "--json"]) == 0
    everything = json.loads(said(capfd)[0])
    assert 0 < sum(r["count"] for r in some["paths"]) < sum(r["count"] for r in everything["paths"])


def test_a_recording_without_hops(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    lines = Path(PING).read_text().splitlines(keepends=True)
    (tmp_path / "one.json").write_text("".join(lines[:2]))
    assert main(["latency", str(tmp_path / "one.json")]) == 0
    assert said(capfd)[0].startswith("No packet was seen at more than one point")


def test_diff_as_text(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", PING, NFT, "--top", "1"]) == 0
    out, err = said(capfd)
    assert err == []
    assert out.startswith("Only in A: ")
    assert "\nOnly in B: " in out
    assert "No path is in both." in out


def test_two_filters_of_one_recording(capfd: pytest.CaptureFixture[str]) -> None:
    sides = ["--left", "icmp[icmptype] == icmp-echo", "--right", "icmp[icmptype] == icmp-echoreply"]
    assert main(["diff", PING, *sides, "-f", "icmp", "--journeys", "--json"]) == 0
    found = json.loads(said(capfd)[0])
    assert found["left_only"]
    assert found["right_only"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["latency", PING, "--top", "0"], "--top 0 is less than 1"),
        (["latency", "nothing.arrow"], "there is no file nothing.arrow"),
        (["latency", PING, "--journeys"], "--journeys needs a packet filter"),
        (["diff", PING], "there is nothing to compare with"),
        (["diff", PING, "--left", "tcp prot 80"], "packet filter: syntax error, at character 5:"),
        (["diff", PING, "nothing.arrow"], "there is no file nothing.arrow"),
    ],
)
def test_mistakes(arguments: list[str], message: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    out, err = said(capfd)
    assert out == ""
    assert err[0] == f"error: {message}"


def test_a_damaged_recording_is_measured_up_to_the_damage(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    damaged = tmp_path / "damaged.json"
    damaged.write_text("".join(Path(PING).read_text().splitlines(keepends=True)[:20]) + '{"common": {"tim')
    assert main(["latency", str(damaged)]) == 2
    out, err = said(capfd)
    assert out.startswith("Hops")
    assert err[0].startswith("error: ")
