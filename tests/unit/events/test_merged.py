"""Several files as one: order of time on one clock, notes of ends, damage; and what can't be merged."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from event_samples import batch_of, room_for
from test_captures import END, FRAME, interface, option, packet, section

from fyke.cli.main import main
from fyke.errors import FykeError, InputError, UsageError
from fyke.events.clock import TIMES
from fyke.events.facts import Facts
from fyke.events.merged import open_merged
from fyke.events.schema import HEADER, arrow_schema, sections
from fyke.events.store import EventWriter

NAT = Path(__file__).parents[2] / "data" / "retis" / "nat-ping" / "events.json"
BOOT = 1_795_554_606_879_830_795
FACTS = Facts(version="0.1.0", cmdline="fyke collect -o", timestamp_ns=5, clock_monotonic_offset_ns=BOOT)


def event(time_ns: int, symbol: str = "ip_rcv", **more: Any) -> dict[str, Any]:
    data = {"len": len(FRAME), "capture_len": len(FRAME), "data": FRAME, "link_layer": True}
    kernel = {"symbol": symbol, "probe_type": "kprobe"}
    return {"timestamp_ns": time_ns, "cpu": 0, "kernel": kernel, "packet": data, **more}


def closing(time_ns: int, events: int | None, lost: int, probes: str = "[]") -> dict[str, Any]:
    note = {"events": events, "lost": lost, "reason": "signal", "probes": probes}
    return {"timestamp_ns": time_ns, "closing": note}


def recording(path: Path, *batches: list[dict[str, Any]], facts: Facts = FACTS, **settings: Any) -> str:
    with EventWriter(str(path), facts, **settings) as writer:
        for rows in batches:
            writer.write(pa.RecordBatch.from_pylist(rows, schema=arrow_schema()))
    return str(path)


def capture(path: Path, *times_ns: int) -> str:
    begin = section() + interface(option(2, b"eth0"), option(9, b"\x09"), END)
    path.write_bytes(begin + b"".join(packet(FRAME, time) for time in times_ns))
    return str(path)


def rows_of(*paths: str) -> list[dict[str, Any]]:
    with open_merged(paths) as source:
        return [row for batch in source.batches() for row in batch.to_pylist()]


def seen(*paths: str) -> list[tuple[int, str]]:
    return [(r["timestamp_ns"], r["kernel"]["symbol"]) for r in rows_of(*paths) if r["kernel"]]


def test_a_capture_is_on_the_clock_of_the_recording(tmp_path: Path) -> None:
    a = recording(tmp_path / "a", [event(10), event(20)], [event(30)])
    b = capture(tmp_path / "b", BOOT, BOOT + 20, BOOT + 25, BOOT + 99)
    ours, theirs = "ip_rcv", "eth0"
    found = [(10, ours), (20, ours), (20, theirs), (25, theirs), (30, ours), (99, theirs)]
    assert seen(a, b) == [(0, theirs), *found]
    found[1:3] = found[2:0:-1]  # of one time, those of the file named first are first
    assert seen(b, a) == [(0, theirs), *found]
    for paths in ((a, b), (b, a)):
        with open_merged(paths) as source:
            assert source.facts.clock_monotonic_offset_ns == BOOT
            assert source.facts.cmdline == FACTS.cmdline
            assert [path for path, _ in source.files] == list(paths)
    assert source.facts.notes == (f"merged with {b}: packets captured with another tool",)


def test_captures_alone_stay_on_the_wall_clock(tmp_path: Path) -> None:
    a, b = capture(tmp_path / "a", BOOT, BOOT + 5), capture(tmp_path / "b", BOOT + 1)
    assert [time - BOOT for time, _ in seen(a, b)] == [0, 1, 5]


@pytest.mark.parametrize("seed", range(8))
def test_any_files_are_in_order(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    paths, expected = [], []
    for number in range(chance.randint(2, 4)):
        offset = BOOT + chance.choice([0, 7, -7, 10**12])
        times = sorted(chance.randrange(40) for _ in range(chance.randint(0, 30)))
        expected += [(time, number, f"{number}.{place}") for place, time in enumerate(times)]
        rows = [event(BOOT + 2 * 10**12 + t - offset, f"{number}.{i}") for i, t in enumerate(times)]
        batches = []
        while rows:
            size = chance.randint(1, 12)
            batches, rows = [*batches, rows[:size]], rows[size:]
        facts = dataclasses.replace(FACTS, clock_monotonic_offset_ns=offset)
        paths.append(recording(tmp_path / str(number), *batches, facts=facts))
    with open_merged(paths) as source:
        first = source.facts.clock_monotonic_offset_ns
    expected.sort(key=lambda item: item[0])
    found = seen(*paths)
    assert [time - (BOOT + 2 * 10**12 - first) for time, _ in found] == [time for time, _, _ in expected]
    for number in range(len(paths)):  # and each file's events are all there, as they were
        own = [name for _, name in found if name.startswith(f"{number}.")]
        assert own == [name for _, of, name in sorted(expected, key=lambda e: e[1]) if of == number]


def test_a_recording_that_is_not_in_order_keeps_its_order(tmp_path: Path) -> None:
    a = recording(tmp_path / "a", [event(10, "1"), event(30, "2"), event(20, "3")], [event(15, "4")])
    b = capture(tmp_path / "b", BOOT + 12, BOOT + 22, BOOT + 40)
    assert [name for _, name in seen(a, b)] == ["1", "eth0", "eth0", "2", "3", "4", "eth0"]


def test_all_times_of_another_machine_are_moved(tmp_path: Path) -> None:
    """That machine booted 100 ns later: its clock is behind."""
    later = dataclasses.replace(FACTS, clock_monotonic_offset_ns=BOOT + 100)
    tracked = {"orig_head": 1, "timestamp_ns": 40, "skb": 1}
    gap = {"since_ns": 50, "cause": "ring_full", "count": 3}
    a = recording(tmp_path / "a", [event(145)])
    b = recording(
        tmp_path / "b", [event(44, skb_tracking=tracked), {"timestamp_ns": 60, "gap": gap}], facts=later
    )
    of_b, of_a, lost = rows_of(a, b)
    assert (of_b["timestamp_ns"], of_a["timestamp_ns"], lost["timestamp_ns"]) == (144, 145, 160)
    assert of_b["skb_tracking"]["timestamp_ns"] == 140
    assert of_b["skb_tracking"]["parent_timestamp_ns"] is None
    assert lost["gap"]["since_ns"] == 150
    assert lost["kernel"] is None
    # the other way round, as far as there are times so early
    a = recording(tmp_path / "a", [event(99)])
    with open_merged([b, a]) as source, pytest.raises(InputError, match="a has events from before"):
        list(source.batches())
    a = recording(tmp_path / "a", [{"timestamp_ns": 160, "gap": gap}])
    assert [row["timestamp_ns"] for row in rows_of(b, a)] == [44, 60, 60]
    assert rows_of(b, a)[2]["gap"] == {**gap, "since_ns": 0}


def test_the_list_of_times_is_whole() -> None:
    found = [(s.name, c.name) for s in sections() for c in s.columns if c.unit == "ns"]
    assert sorted(found) == sorted(TIMES)
    assert [c.name for c in HEADER if c.unit == "ns"] == ["timestamp_ns"]


def test_hostile_times(tmp_path: Path) -> None:
    a = recording(tmp_path / "a", [event(1)])
    b = recording(
        tmp_path / "b",
        [event(2**64 - 1)],
        facts=dataclasses.replace(FACTS, clock_monotonic_offset_ns=2**63 - 1),
    )
    assert main(["print", a, b]) == main(["print", b, a]) == 2


def test_the_ends_of_collections_are_one(tmp_path: Path) -> None:
    a = recording(tmp_path / "a", [event(1)], [closing(2, 1, 5, '[{"symbol": "x"}]')])
    b = capture(tmp_path / "b", BOOT + 9)
    end = rows_of(a, b)[-1]
    assert end["closing"] == closing(2, 1, 5, '[{"symbol": "x"}]')["closing"]
    c = recording(tmp_path / "c", [event(1)], [closing(3, 2**64 - 1, 6, '[{"symbol": "y"}, 7]')])
    _, _, end = rows_of(a, c)
    assert end["timestamp_ns"] == 3
    assert end["closing"] == closing(3, 2**64 - 1, 11, '[{"symbol": "x"}, {"symbol": "y"}]')["closing"]
    killed = recording(tmp_path / "d", [event(1)])
    assert [row["closing"] for row in rows_of(a, killed)] == [None, None]


def test_damage_and_missing_ends_are_told_after_all_else(tmp_path: Path) -> None:
    a = recording(tmp_path / "a", [event(1)], [event(2)], [event(30)])
    (tmp_path / "a").write_bytes((tmp_path / "a").read_bytes()[:-60])
    b = recording(tmp_path / "b", [event(3)])
    (tmp_path / "b").write_bytes((tmp_path / "b").read_bytes()[:-8])  # no end marker
    c = capture(tmp_path / "c", BOOT + 4, BOOT + 50)
    found: list[int] = []
    with open_merged([a, b, c]) as source:
        batches = source.batches()
        with pytest.raises(InputError, match=r"a is damaged at byte .* after 2"):
            found.extend(time for batch in batches for time in batch.column("timestamp_ns").to_pylist())
    assert found == [1, 2, 3, 4, 50]
    assert source.problem is not None
    assert source.endless == [b]
    assert not source.complete


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["a", "./a"], "./a is given twice"),
        (["a", "sorted"], "sorted is sorted"),
        (["a", "clockless"], "clockless doesn't tell its clock"),
        (["clockless", "c"], "clockless doesn't tell its clock"),
        (["a", "none"], "there is no file none"),
        (["a", "a.1", "a.."], "there is no file a."),
    ],
)
def test_what_cant_be_merged(
    names: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recording(Path("a"), [event(1)])
    recording(Path("sorted"), [event(1)], facts=dataclasses.replace(FACTS, order="journey"))
    recording(Path("clockless"), [event(1)], facts=Facts())
    capture(Path("c"), BOOT)
    with pytest.raises(FykeError) as problem:
        open_merged(names)
    assert problem.value.message.startswith(said)
    assert problem.value.exit_code == 2


def test_two_recordings_that_dont_tell_their_clock(tmp_path: Path) -> None:
    a, b = (recording(tmp_path / n, [event(t)], facts=Facts()) for n, t in (("a", 2), ("b", 1)))
    assert [time for time, _ in seen(a, b)] == [1, 2]


def test_columns_of_one_file_only(tmp_path: Path) -> None:
    batch = pa.RecordBatch.from_pylist([event(2)], schema=arrow_schema())
    for name, kind in (("a", pa.int64()), ("b", pa.string())):
        own = batch.append_column("own", pa.array([None], kind))
        with EventWriter(str(tmp_path / name), FACTS, schema=own.schema) as writer:
            writer.write(own)
    a, c = str(tmp_path / "a"), capture(tmp_path / "c", BOOT + 1)
    assert [row["own"] for row in rows_of(c, a)] == [None, None]
    with pytest.raises(UsageError, match="own is int64 in one file and string in another"):
        open_merged([a, str(tmp_path / "b")])


def test_split_sets_are_merged_too(tmp_path: Path) -> None:
    rows = [[event(10 * n), event(10 * n + 1)] for n in range(6)]
    recording(tmp_path / "a", *rows, limit_bytes=room_for(1, batch_of(rows[0])))
    assert (tmp_path / "a.1").exists()
    b = capture(tmp_path / "b", *(BOOT + 10 * n + 1 for n in range(6)))
    times = [time for time, _ in seen(str(tmp_path / "a.."), b)]
    assert times == sorted([10 * n + k for n in range(6) for k in (0, 1, 1)])


# ---- the commands


def shown(capfd: pytest.CaptureFixture[str], *argv: str) -> str:
    capfd.readouterr()
    assert main([*argv]) == 0
    return capfd.readouterr().out


@pytest.mark.parametrize(
    "how", [["print"], ["sort"], ["pcap"], ["print", "-f", "greater 60"], ["pcap", "-l"]]
)
def test_commands_show_files_as_one(
    how: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    tracked = [{"orig_head": n, "timestamp_ns": 10 * n, "skb": 1} for n in (1, 2)]
    a = recording(tmp_path / "a", [event(time, skb_tracking=tracked[time % 2]) for time in range(20, 40, 5)])
    b = capture(tmp_path / "b", *(BOOT + time for time in range(19, 40, 5)))
    one = str(tmp_path / "one.arrow")
    assert main(["convert", a, b, one]) == 0
    assert shown(capfd, *how, a, b) == shown(capfd, *how, one)
    out = str(tmp_path / "sorted.arrow")
    assert main(["sort", a, b, "-o", out]) == 0
    assert shown(capfd, "print", out) == shown(capfd, "sort", one)


def test_a_capture_made_of_a_recording_falls_on_its_events(tmp_path: Path) -> None:
    nat, made = str(NAT), str(tmp_path / "a.pcapng")
    assert main(["pcap", nat, "-o", made]) == 0
    ours, theirs = (
        [(r["timestamp_ns"], r["packet"]["data"]) for r in rows_of(p) if r["packet"]] for p in (nat, made)
    )
    merged = [(r["timestamp_ns"], r["packet"]["data"]) for r in rows_of(nat, made) if r["packet"]]
    assert len(ours) == len(theirs) == 44
    assert sorted(merged) == sorted(2 * ours)


def test_whole_journeys_of_several_files(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    other = {"packet": {"len": 1, "capture_len": 1, "data": b"\0", "link_layer": True}}
    tracked = {"skb_tracking": {"orig_head": 1, "timestamp_ns": 1, "skb": 1}}
    a = recording(tmp_path / "a", [event(1, **tracked), event(3, "out", **tracked, **other)])
    b = capture(tmp_path / "b", BOOT + 2)
    text = shown(capfd, "print", "--format", "single-line", "--journeys", "-f", "greater 60", a, b)
    assert [line.split()[0] for line in text.splitlines()[1:]] == ["1", "2", "3"]


def test_an_output_over_one_of_the_files(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    a, b = recording(tmp_path / "a", [event(1)]), capture(tmp_path / "b", BOOT)
    before = (tmp_path / "b").read_bytes()
    for argv in (["sort", a, b, "-o", b], ["convert", a, b, b], ["pcap", a, b, "-o", b]):
        assert main(argv) == 2
        assert f"{b} is the file to be" in capfd.readouterr().err
    assert (tmp_path / "b").read_bytes() == before
