"""What the commands write as JSON, read by Retis' own library: EventFile and its readers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import retis
from cli_samples import CORPUS, FACTS, rows, write

from fyke.cli.main import main
from fyke.events.reader import open_events

SAMPLES = ("basic-default", "bridge-udp", "meta-filter", "nat-ping")


@pytest.mark.parametrize("sample", SAMPLES)
def test_sorted_json_is_a_sorted_file_for_retis(tmp_path: Path, sample: str) -> None:
    source, out = CORPUS / sample / "events.json", str(tmp_path / "sorted.json")
    assert main(["sort", str(source), "-o", out]) == 0
    file = retis.EventFile(out)
    assert file.sorted()
    series = [list(events) for events in file.series()]
    events = [json.loads(line) for line in source.read_text().splitlines()[1:]]
    assert series[0][0].sections() == ["common", "startup"] or "startup" in series[0][0].sections()
    read = [event.to_dict()["common"]["timestamp"] for events in series[1:] for event in events]
    assert sorted(read) == sorted(event["common"]["timestamp"] for event in events)
    for journey in series[1:]:
        ids = {json.dumps(e.to_dict().get("tracking", {}).get("skb"), sort_keys=True) for e in journey}
        assert len(ids) == 1
        if "null" not in ids:
            assert [e.to_dict()["tracking"]["idx"] for e in journey] == list(range(len(journey)))


def test_a_sorted_recording_of_ours_is_read_by_retis_and_by_us(tmp_path: Path) -> None:
    source, out = write(tmp_path / "a.arrow", rows(1, 30)), str(tmp_path / "sorted.json")
    arrow = str(tmp_path / "sorted.arrow")
    assert main(["sort", str(source), "-o", out]) == 0
    assert main(["sort", str(source), "-o", arrow]) == 0
    series = [list(events) for events in retis.SeriesReader(out)]
    assert [len(events) for events in series] == [1, 10, 10, 10]
    with open_events(out) as ours, open_events(arrow) as theirs:
        assert [b.to_pylist() for b in ours.batches()] == [b.to_pylist() for b in theirs.batches()]


@pytest.mark.parametrize("sample", SAMPLES)
def test_a_recording_of_ours_is_sorted_to_the_same_json(tmp_path: Path, sample: str) -> None:
    source, ours = str(CORPUS / sample / "events.json"), str(tmp_path / "a.arrow")
    one, other = tmp_path / "one.json", tmp_path / "other.json"
    assert main(["convert", source, ours]) == 0
    assert main(["sort", source, "-o", str(one)]) == 0
    assert main(["sort", ours, "-o", str(other)]) == 0
    assert other.read_bytes() == one.read_bytes()


def test_facts_of_a_sorted_file_are_those_of_its_source(tmp_path: Path) -> None:
    source, out = write(tmp_path / "a.arrow", rows(1, 3)), str(tmp_path / "sorted.json")
    assert main(["sort", str(source), "-o", out]) == 0
    with open_events(out) as sorted_file:
        assert sorted_file.facts.timestamp_ns == FACTS.timestamp_ns
        assert sorted_file.facts.cmdline == FACTS.cmdline
        assert sorted_file.facts.order == "journey"
