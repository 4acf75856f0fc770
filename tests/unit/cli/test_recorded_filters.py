"""print and sort with -f, -F and --journeys: a recording through a NAT, files of every kind, mistakes."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import cypcap
import pyarrow as pa
import pytest
from cli_samples import CORPUS, environment, rows, write
from event_samples import batch_of, room_for

from fyke.cli.main import main
from fyke.events.facts import Facts
from fyke.events.reader import open_events

NAT = CORPUS / "nat-ping"
# The address that the NAT of that recording gives to packets: what they are before, only their journey says.
BEHIND_NAT = "dst host 10.0.43.2"


def events_of(path: str | Path) -> list[dict[str, Any]]:
    with open_events(str(path)) as source:
        return [row for batch in source.batches() for row in batch.to_pylist()]


def matching(path: str | Path, expression: str) -> list[dict[str, Any]]:
    """Return the events whose packets libpcap accepts."""
    with contextlib.closing(cypcap.open_dead(cypcap.DatalinkType.EN10MB, 262144)) as pcap:
        program = pcap.compile(expression)
    return [
        row
        for row in events_of(path)
        if (packet := row["packet"])
        and program.offline_filter(cypcap.Pkthdr(0, len(packet["data"]), packet["len"]), packet["data"])
    ]


def in_journeys_of(path: str | Path, expression: str) -> list[dict[str, Any]]:
    ids = {packet_id(row) for row in matching(path, expression)}
    return [row for row in events_of(path) if packet_id(row) in ids]


def packet_id(row: dict[str, Any]) -> tuple[int, int]:
    return row["skb_tracking"]["timestamp_ns"], row["skb_tracking"]["orig_head"]


def times(rows: list[dict[str, Any]]) -> list[int]:
    return [row["timestamp_ns"] for row in rows]


def shown(text: str) -> list[int]:
    """Return the times of the events in text."""
    return [int(time) for time in re.findall(r"(?m)^(?:  ↳ )?(\d+) \(\d+\) ", text)]


def run(capfd: pytest.CaptureFixture[str], *argv: str) -> list[int]:
    """Run a command that works, and return the times of the events it shows."""
    assert main(argv) == 0
    out, err = capfd.readouterr()
    assert all(" that this version can't show" in line for line in err.splitlines()), err
    return shown(out)


@pytest.mark.parametrize("kind", ["retis", "arrow", "json"])
def test_print(kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = str(NAT / "events.json")
    wanted, whole = times(matching(path, BEHIND_NAT)), times(in_journeys_of(path, BEHIND_NAT))
    assert 0 < len(wanted) < len(whole) < len(events_of(path))
    first = whole.index(wanted[0])
    assert first > 3, "the packet was seen before the NAT"
    if kind != "retis":
        path = rewritten(path, tmp_path / f"a.{kind}")
    assert run(capfd, "print", "-f", BEHIND_NAT, path) == wanted
    assert run(capfd, "print", f"--filter-packet={BEHIND_NAT}", "--format", "single-line", path) == wanted
    assert run(capfd, "print", "-f", BEHIND_NAT, "--journeys", path) == whole


def rewritten(path: str, out: Path) -> str:
    """Write an event file as one of ours, in its order."""
    from fyke.cli.writing import open_writer

    with open_events(path) as source, open_writer(str(out), source.facts, schema=source.schema) as writer:
        for batch in source.batches():
            writer.write(batch)
    return str(out)


@pytest.mark.parametrize("journeys", [False, True])
@pytest.mark.parametrize("name", ["s.arrow", "s.json"])
def test_sort(journeys: bool, name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = str(NAT / "events.json")
    wanted = in_journeys_of(path, BEHIND_NAT) if journeys else matching(path, BEHIND_NAT)
    wanted.sort(key=lambda row: (*packet_id(row), row["timestamp_ns"]))
    options = ["-f", BEHIND_NAT, *(["--journeys"] if journeys else [])]
    assert run(capfd, "sort", *options, path) == times(wanted)
    # The same of what is sorted already: without a filter there is nothing to do, with one there is.
    sorted_ = str(tmp_path / f"whole-{name}")
    run(capfd, "sort", path, "-o", sorted_)
    assert run(capfd, "sort", *options, sorted_) == times(wanted)
    assert run(capfd, "print", *options, sorted_) == times(wanted)
    for source in (path, sorted_):
        out = str(tmp_path / name)
        run(capfd, "sort", *options, source, "--out", out)
        left = events_of(out)
        assert times(left) == times(wanted)
        numbers = [(row["journey"]["id"], row["journey"]["index"]) for row in left]
        assert numbers == places(wanted)
        assert facts_of(out).order == "journey"


def places(rows: list[dict[str, Any]]) -> list[tuple[int, int]]:
    """Return the place of each row in its journey, for rows in sorted order."""
    ids = list(dict.fromkeys(map(packet_id, rows)))
    seen: list[Any] = []
    result = []
    for row in rows:
        result.append((ids.index(packet_id(row)), seen.count(packet_id(row))))
        seen.append(packet_id(row))
    return result


def facts_of(path: str) -> Facts:
    with open_events(path) as source:
        return source.facts


def test_sorted_by_retis(capfd: pytest.CaptureFixture[str]) -> None:
    path = str(NAT / "sorted.json")
    wanted = times(in_journeys_of(NAT / "events.json", BEHIND_NAT))
    for command in ("print", "sort"):
        assert sorted(run(capfd, command, "-f", BEHIND_NAT, "--journeys", path)) == sorted(wanted)


def test_the_facts_of_a_filtered_file_say_so(tmp_path: Path) -> None:
    path, out = str(NAT / "events.json"), str(tmp_path / "s.arrow")
    assert main(["sort", path, "-f", " icmp\n and ip", "-o", out]) == 0
    assert facts_of(out).notes == ("filtered: only events that match the packet filter icmp and ip",)
    assert facts_of(out).cmdline == facts_of(path).cmdline
    again = str(tmp_path / "again.json")
    assert main(["sort", out, "-f", BEHIND_NAT, "--journeys", "-o", again]) == 0
    notes = facts_of(again).notes
    assert notes[:1] == facts_of(out).notes
    assert notes[1:] == (
        f"filtered: only whole journeys with an event that matches the packet filter {BEHIND_NAT}",
    )


def test_an_expression_from_a_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "filter").write_text(
        "# what comes out of the NAT\ndst host\n  10.0.43.2 # and nothing else\n"
    )
    path = str(NAT / "events.json")
    assert run(capfd, "print", "-F", str(tmp_path / "filter"), path) == times(matching(path, BEHIND_NAT))


def test_the_files_of_a_split_set(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source = events_of(NAT / "events.json")
    packets = [{**row, "timestamp_ns": n} for n, row in enumerate(source * 6, 1)]
    batches = [packets[n : n + 20] for n in range(0, len(packets), 20)]
    write(tmp_path / "a", *batches, limit_bytes=room_for(3, batch_of(batches[0])))
    parts = len(list(tmp_path.iterdir()))
    assert parts > 2
    first = f"{tmp_path}/a.0.."
    wanted = times(matching(first, BEHIND_NAT))
    assert len(wanted) == 6 * len(matching(NAT / "events.json", BEHIND_NAT))
    assert main(["print", "-f", BEHIND_NAT, first]) == 0
    out = capfd.readouterr().out
    assert shown(out) == wanted
    assert re.findall(r"file id (\d+)", out) == [str(n) for n in range(parts)]
    whole = times(in_journeys_of(first, BEHIND_NAT))
    assert main(["print", "-f", BEHIND_NAT, "--journeys", first]) == 0
    out = capfd.readouterr().out
    assert shown(out) == whole
    assert re.findall(r"file id (\d+)", out) == [str(n) for n in range(parts)]
    assert main(["sort", "-f", BEHIND_NAT, "--journeys", first]) == 0
    assert sorted(shown(capfd.readouterr().out)) == whole


@pytest.mark.parametrize("command", ["print", "sort"])
@pytest.mark.parametrize("journeys", [[], ["--journeys"]])
def test_what_is_before_damage_is_shown_first(
    command: str, journeys: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = events_of(NAT / "events.json")
    path = write(tmp_path / "a.arrow", source[:20], source[20:])
    path.write_bytes(path.read_bytes()[:-60])
    readable = write(tmp_path / "readable.arrow", source[:20])
    wanted = (in_journeys_of if journeys else matching)(readable, BEHIND_NAT)
    assert wanted
    assert main([command, "-f", BEHIND_NAT, *journeys, str(path)]) == 2
    out, err = capfd.readouterr()
    assert sorted(shown(out)) == sorted(times(wanted))
    assert out.endswith("\n\n")
    assert err.startswith("error: ")
    assert "is damaged at byte" in err


def test_damaged_json(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    lines = (NAT / "events.json").read_text().splitlines(keepends=True)
    (tmp_path / "whole.json").write_text("".join(lines[:21]))
    (tmp_path / "e.json").write_text("".join(lines[:21]) + lines[21][:50])
    for options, wanted in (
        ([], matching(tmp_path / "whole.json", BEHIND_NAT)),
        (["--journeys"], in_journeys_of(tmp_path / "whole.json", BEHIND_NAT)),
    ):
        assert main(["print", "-f", BEHIND_NAT, *options, str(tmp_path / "e.json")]) == 2
        out, err = capfd.readouterr()
        assert shown(out) == times(wanted)
        assert "is damaged at line 22" in err


def test_gaps_stay_and_what_was_not_kept_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source = [row for row in events_of(NAT / "events.json") if row["packet"]]
    for row in source:
        row["packet"]["data"] = row["packet"]["data"][:20]
    gap = {"timestamp_ns": 5, "cpu": 1, "gap": {"since_ns": 1, "cause": "ring_full", "count": 12}}
    path = str(write(tmp_path / "a.arrow", [gap, *source]))
    for command in ("print", "sort"):
        assert main([command, "-f", "icmp", path]) == 0
        out, err = capfd.readouterr()
        assert shown(out) == []
        assert "12 events lost on cpu 1" in out
        assert err.startswith(f"warning: {len(source)} events could not be judged: what the filter looks at ")
        assert err.count("\n") == 1
    assert main(["print", "-f", "icmp", str(write(tmp_path / "b.arrow", rows(1, 5)))]) == 0
    assert capfd.readouterr().err.startswith("warning: no event holds a packet")


@pytest.mark.parametrize("command", ["print", "sort"])
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-f", "ip host"], "packet filter: syntax error"),
        (["-f", "icmp or and"], "packet filter: syntax error"),
        (["-f", ""], "the packet filter is empty"),
        (["-f", "inbound"], "inbound"),
        (["-f", "icmp", "-F", "file"], "-f and -F are both given"),
        (["-F", "/nowhere/filter"], "can't read the filter file /nowhere/filter"),
        (["--journeys"], "--journeys needs a packet filter"),
        (["-f"], "needs a value"),
    ],
)
def test_mistakes(command: str, options: list[str], said: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main([command, str(NAT / "events.json"), *options]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert said in err
    assert err.startswith("error: ")
    assert "\nhint: " in err or "can't read" in said


def test_a_bad_expression_leaves_no_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "s.arrow"
    assert main(["sort", str(NAT / "events.json"), "-f", "ip host", "-o", str(out)]) == 2
    assert not out.exists()


def piped(line: str) -> subprocess.CompletedProcess[str]:
    command = line.replace("fyke", f"{sys.executable} -m fyke").replace("NAT", str(NAT / "events.json"))
    return subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=environment())


def test_pipes() -> None:
    wanted = times(matching(NAT / "events.json", BEHIND_NAT))
    whole = times(in_journeys_of(NAT / "events.json", BEHIND_NAT))
    got = piped(f"cat NAT | fyke print -f '{BEHIND_NAT}' /dev/stdin")
    assert (got.returncode, shown(got.stdout)) == (0, wanted)
    got = piped(f"fyke sort -f '{BEHIND_NAT}' --journeys <(cat NAT)")
    assert (got.returncode, sorted(shown(got.stdout))) == (0, whole)
    got = piped(f"fyke print -f '{BEHIND_NAT}' --journeys /dev/stdin <NAT")
    assert (got.returncode, shown(got.stdout)) == (0, whole)
    got = piped(f"cat NAT | fyke print -f '{BEHIND_NAT}' --journeys /dev/stdin")
    assert (got.returncode, got.stdout) == (2, "")
    assert got.stderr.startswith("error: /dev/stdin can't be read twice")
    assert "hint: `fyke sort --journeys`" in got.stderr


def test_json_of_a_filtered_recording_is_retis_own(tmp_path: Path) -> None:
    out = tmp_path / "s.json"
    assert main(["sort", str(NAT / "events.json"), "-f", BEHIND_NAT, "--journeys", "-o", str(out)]) == 0
    startup, *series = [json.loads(line) for line in out.read_text().splitlines()]
    assert "startup" in startup[0]
    assert [len(events) for events in series] == [
        len([row for row in in_journeys_of(NAT / "events.json", BEHIND_NAT) if packet_id(row) == key])
        for key in dict.fromkeys(map(packet_id, in_journeys_of(NAT / "events.json", BEHIND_NAT)))
    ]


def test_columns_of_others_are_carried_along(tmp_path: Path) -> None:
    path = rewritten(str(NAT / "events.json"), tmp_path / "a.arrow")
    table = pa.ipc.open_stream(path).read_all()
    table = table.append_column("mine", pa.array(range(len(table))))
    with pa.ipc.new_stream(tmp_path / "b.arrow", table.schema) as stream:
        stream.write_table(table)
    assert facts_of(str(tmp_path / "b.arrow")).version
    for n, source in enumerate(("b.arrow", "0.arrow")):
        argv = ["sort", str(tmp_path / source), "-f", BEHIND_NAT, "-o", str(tmp_path / f"{n}.arrow")]
        assert main(argv) == 0
    mine = [row["mine"] for row in events_of(tmp_path / "1.arrow")]
    assert [table["timestamp_ns"][n].as_py() for n in mine] == times(matching(path, BEHIND_NAT))
