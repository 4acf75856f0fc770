"""stats: Retis' lines as Retis prints them, and the numbers under them counted another way."""

from __future__ import annotations

import itertools
import json
import statistics
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from cli_samples import CORPUS, FACTS, rows, write
from event_samples import batch_of, room_for

from fyke.cli.main import main
from fyke.cli.stats_text import sparkline
from fyke.events.reader import open_events
from fyke.journeys.sort import sort

SAMPLES = Path(__file__).parents[2] / "data" / "retis"
RECORDINGS = sorted(SAMPLES.glob("*/events.json"))


def stats(*argv: str, capfd: pytest.CaptureFixture[str]) -> str:
    assert main(["stats", "--no-pager", *argv]) == 0
    return capfd.readouterr().out


def as_object(*argv: str, capfd: pytest.CaptureFixture[str]) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(stats("--json", *argv, capfd=capfd))
    return result


def events_of(path: Path) -> list[dict[str, Any]]:
    with open_events(str(path)) as source:
        return [row for batch in source.batches() for row in batch.to_pylist()]


def ties_sorted(text: str) -> list[str]:
    """Return lines with probes of the same count in order of name: Retis has them in any."""
    head, _, tail = text.partition("Probes:\n")
    lines = tail.splitlines()
    return [*head.splitlines(), *sorted(lines, key=lambda line: (-int(line.rpartition(" ")[2]), line))]


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*/stats.txt")), ids=lambda p: p.parent.name)
def test_the_lines_of_retis(path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    shown = stats("--parts", "summary", str(path.with_name("events.json")), capfd=capfd)
    assert ties_sorted(shown) == ties_sorted(path.read_text())
    whole = stats(str(path.with_name("events.json")), capfd=capfd)
    assert whole.startswith(shown)


def test_there_are_recordings_to_compare_with() -> None:
    assert list(SAMPLES.glob("*/stats.txt"))


def test_a_sorted_file_tells_its_series(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source = CORPUS / "basic-default" / "events.json"
    for name in ("s.arrow", "s.json"):
        assert main(["sort", str(source), "-o", str(tmp_path / name)]) == 0
        shown = stats("--parts", "summary", str(tmp_path / name), capfd=capfd)
        assert "Number of series: 8\nNumber of events: 19\n" in shown


def test_files_of_a_set(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    batches = [rows(1 + 300 * i, 300) for i in range(6)]
    limit = room_for(2, batch_of(batches[0]), compression="none")
    write(tmp_path / "a.arrow", *batches, limit_bytes=limit, compression="none")
    count = len(list(tmp_path.iterdir()))
    assert count > 1
    shown = stats("--parts", "summary", f"{tmp_path / 'a.arrow'}..", capfd=capfd)
    assert shown.count("cmdline: ") == 1, "only the first file has a head"
    assert [int(line.split()[-1]) for line in shown.splitlines() if "Split index" in line] == [*range(count)]
    events = [int(line.split()[-1]) for line in shown.splitlines() if "Number of events" in line]
    assert sum(events) == 1800


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda p: p.parent.name)
def test_numbers_of_real_recordings(path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    told, events = as_object(str(path), capfd=capfd), events_of(path)
    assert told["events"] == len(events)
    tracked = sum(e["skb_tracking"] is not None for e in events)
    assert told["tracking"] == {"tracked": tracked, "untracked": len(events) - tracked, "ambiguous": 0}
    drops = Counter(e["skb_drop"]["drop_reason"] for e in events if e["skb_drop"] is not None)
    assert told["drops"] == dict(drops)
    assert sum(told["rate"]["events"]) == len(events)
    probes = Counter(f"{e['kernel']['probe_type']}/{e['kernel']['symbol']}" for e in events)
    assert {name: sum(columns) for name, columns in told["rate"]["probes"].items()} == dict(probes)
    _check_hops(told["hops"], path)
    assert sum(j["journeys"] for j in told["paths"]) <= told["journeys"][0]["tracked"]
    if len(told["paths"]) < 10:
        assert sum(j["journeys"] for j in told["paths"]) == told["journeys"][0]["tracked"]
    assert all(f["packets"] >= f["packets_back"] for f in told["flows"])


def _check_hops(told: list[dict[str, Any]], path: Path) -> None:
    times: dict[tuple[str, str], list[int]] = {}
    with open_events(str(path)) as source:
        events = [row for batch in sort(source.batches(), source.schema) for row in batch.to_pylist()]
    for one, two in itertools.pairwise(events):
        if one["journey"]["id"] == two["journey"]["id"]:
            key = one["kernel"]["symbol"], two["kernel"]["symbol"]
            times.setdefault(key, []).append(two["timestamp_ns"] - one["timestamp_ns"])
    for hop in told:
        found = times[hop["from_symbol"], hop["to_symbol"]]
        assert hop["hops"] == len(found)
        assert hop["p50_ns"] == statistics.median_low(found)
        assert min(found) <= hop["p50_ns"] <= hop["p99_ns"] <= max(found)
    assert len(told) == min(len(times), 20)


def test_loss(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    probes = [{"symbol": "ip_rcv", "probe_type": "kprobe", "hits": 9, "filtered": 0, "lost": 5}]
    gap = {"since_ns": 1, "cause": "ring_full", "count": 5}
    kernel = {"symbol": "ip_rcv", "probe_type": "kprobe"}
    untracked = {"since_ns": 1, "cause": "tracking_full", "count": 3}
    closing = {"events": 4, "lost": 5, "reason": "signal", "probes": json.dumps(probes)}
    notes = [
        {"timestamp_ns": 20, "cpu": 1, "gap": gap, "kernel": kernel},
        {"timestamp_ns": 21, "gap": untracked},
        {"timestamp_ns": 22, "closing": closing},
    ]
    path = write(tmp_path / "a.arrow", rows(1, 4), notes)
    shown = stats("--parts", "loss", str(path), capfd=capfd)
    assert shown == "Lost events: 5\n  ring_full on cpu 1 at kprobe/ip_rcv: 5\n  tracking_full: 3\n"
    told = as_object(str(path), capfd=capfd)
    assert told["events"] == 4, "notes are no events"
    assert told["loss"]["events"] == 5
    assert told["loss"]["probes"] == probes


def test_probes_that_were_added(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    probes = [
        {"symbol": "net:netif_rx", "probe_type": "raw_tracepoint", "hits": 9},
        {"symbol": "ip_rcv", "probe_type": "kprobe", "hits": 8, "added_ns": 2_500_000},
        {"symbol": "late\x1b[1m", "probe_type": "fentry", "added_ns": 5 * 10**9},
        {"symbol": "odd", "added_ns": "soon"},
    ]
    closing = {"events": 4, "lost": 0, "reason": "signal", "probes": json.dumps(probes)}
    path = write(tmp_path / "a.arrow", rows(1, 4), [{"timestamp_ns": 22, "closing": closing}])
    shown = stats("--parts", "summary", str(path), capfd=capfd)
    assert shown.endswith(
        "Probes added as they were found:\n  kprobe/ip_rcv: after 2.5 ms\n  fentry/late\\x1b[1m: after 5 s\n"
    )
    assert as_object(str(path), capfd=capfd)["added_probes"] == [
        {"probe": "kprobe/ip_rcv", "added_ns": 2_500_000},
        {"probe": "fentry/late\x1b[1m", "added_ns": 5 * 10**9},
    ]


@pytest.mark.parametrize("probes", ["[", "7", "[7]", '{"a": 1}', "[" * 100_000, None])
def test_a_closing_row_that_makes_no_sense(
    probes: str | None, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    closing = {"events": 4, "lost": 5, "reason": "signal", "probes": probes}
    path = write(tmp_path / "a.arrow", rows(1, 4), [{"timestamp_ns": 22, "closing": closing}])
    assert stats("--parts", "loss", str(path), capfd=capfd) == "Lost events: 5\n"


@pytest.mark.parametrize(
    "times", [[5], [0, 2**64 - 1], [7] * 100, [*range(0, 10**9, 10**6)], [10**18, 3, 10**18]]
)
def test_rates_of_any_times(times: list[int], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    events = [{**row, "timestamp_ns": t} for row, t in zip(rows(1, len(times)), times, strict=True)]
    path = write(tmp_path / "a.arrow", *(events[i : i + 7] for i in range(0, len(events), 7)))
    told = as_object("--parts", "rate", str(path), capfd=capfd)["rate"]
    assert sum(told["events"]) == len(times)
    width = (max(times) - min(times) + 1) / 60
    assert told["column_ns"] == pytest.approx(width)
    wanted = Counter(min(int((t - min(times)) / width), 59) for t in times)
    if len(wanted) <= 2:  # at both ends
        assert {i: n for i, n in enumerate(told["events"]) if n} == wanted
    else:
        assert all(abs(n - wanted[i]) <= 1 + wanted[i] // 10 for i, n in enumerate(told["events"]))
    assert "Events per second" in stats("--parts", "rate", str(path), capfd=capfd)


def test_thousands_of_probes(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    events = [
        {**r, "kernel": {"symbol": f"f{r['timestamp_ns']}", "probe_type": "kprobe"}} for r in rows(1, 3000)
    ]
    path = write(tmp_path / "a.arrow", events)
    told = as_object("--parts", "summary,rate", str(path), capfd=capfd)
    assert len(told["files"][0]["probes"]) == 3000
    assert sum(told["rate"]["events"]) == 3000
    assert len(stats("--parts", "rate", str(path), capfd=capfd).splitlines()) == 12


def test_probes_in_user_programs(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """They count by their own name, in a batch with others, in one without, and where nobody says which."""
    user = {"kernel": None, "userspace": {"symbol": "dpif_recv:recv_upcall", "probe_type": "usdt"}}
    mixed = [{**row, **(user if n % 3 else {})} for n, row in enumerate(rows(1, 9))]
    alone = [{**row, **user} for row in rows(100, 4)]
    nobodys = [{**row, "kernel": None} for row in rows(200, 2)]
    path = write(tmp_path / "a.arrow", mixed, alone, nobodys)
    told = as_object("--parts", "summary,rate", str(path), capfd=capfd)
    (kernels,) = {f"{r['kernel']['probe_type']}/{r['kernel']['symbol']}" for r in rows(1, 9)}
    expected = {"usdt/dpif_recv:recv_upcall": 10, kernels: 3, "?": 2}
    assert told["files"][0]["probes"] == expected
    assert {name: sum(columns) for name, columns in told["rate"]["probes"].items()} == expected


def test_sparklines() -> None:
    import numpy as np

    assert sparkline(np.array([0, 1, 50, 100])) == " ▁▄█"
    assert sparkline(np.array([0, 0])) == "  "


def test_an_empty_recording(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "a.arrow")
    shown = stats("--all", str(path), capfd=capfd)
    assert "Number of events: 0\nProbes:\n" in shown
    assert as_object(str(path), capfd=capfd)["events"] == 0


def test_what_is_before_damage_is_counted(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    whole = write(tmp_path / "a.arrow", rows(1, 6), rows(7, 6)).read_bytes()
    (tmp_path / "cut.arrow").write_bytes(whole[:-60])
    for argv in ([], ["--all"]):
        assert main(["stats", "--no-pager", *argv, str(tmp_path / "cut.arrow")]) == 2
        out, err = capfd.readouterr()
        assert "Number of events: 6\n" in out
        assert "damaged at byte" in err


@pytest.mark.parametrize("argv", [["--parts", "flow"], ["--parts", ""], ["--all", "--parts", "loss"]])
def test_wrong_parts(argv: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["stats", *argv, str(RECORDINGS[0])]) == 2
    assert capfd.readouterr().err.startswith("error: ")


def test_our_own_files_say_so(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    shown = stats("--parts", "summary", str(write(tmp_path / "a.arrow", rows(1, 2))), capfd=capfd)
    assert shown.startswith(f"fyke version: {FACTS.version}\nfyke cmdline: {FACTS.cmdline}\n")
