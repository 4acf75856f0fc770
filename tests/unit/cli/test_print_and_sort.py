"""print and sort: from files to text and files, whole, damaged, split, into pipes and pagers."""

from __future__ import annotations

import dataclasses
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
import retis
from cli_samples import CORPUS, FACTS, environment, fyke, rows, write
from event_samples import batch_of, room_for

from fyke.cli.main import main
from fyke.cli.options import wants_color
from fyke.cli.writing import output_format

BASIC = CORPUS / "basic-default"


def _lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if "[k] ip_rcv" in line]


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["print"], "print.txt"),
        (["print", "-e"], "print-e.txt"),
        (["print", "--format", "single-line"], "print-single.txt"),
        (["sort"], "sort.txt"),
        (["sort", "--format", "single-line", "--max-buffer", "10"], "sort-single.txt"),
    ],
)
def test_the_text_of_a_recording(argv: list[str], expected: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main([*argv, str(BASIC / "events.json")]) == 0
    assert capfd.readouterr() == ((BASIC / expected).read_text(), "")


def test_dates(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["print", "--utc", str(BASIC / "events.json")]) == 0
    shown = capfd.readouterr().out
    plain = (BASIC / "print.txt").read_text()
    assert shown.startswith("2026-11-24 21:16:02.203388\n  collected with Retis ")
    # but for the times, the same
    assert re.sub(r"(?m)^\d+-\d+-\d+ [\d:.]+", "T", shown) == re.sub(r"(?m)^\d+", "T", plain)


@pytest.mark.parametrize("name", ["s.arrow", "s.json"])
def test_a_sorted_file_prints_as_sort_does(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / name)
    assert main(["sort", str(BASIC / "events.json"), "-o", out]) == 0
    assert capfd.readouterr() == ("", "")
    assert main(["print", out]) == 0
    shown = capfd.readouterr()
    # what fyke wrote is Retis' recording still
    assert shown == ((BASIC / "sort.txt").read_text(), "")
    assert main(["sort", out]) == 0
    assert capfd.readouterr() == ("", "File already sorted\n")


def test_print_beside_a_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    argv = ["sort", str(BASIC / "events.json"), "--out", str(tmp_path / "s.arrow"), "--print"]
    assert main(argv) == 0
    assert capfd.readouterr().out == (BASIC / "sort.txt").read_text()


def test_sorted_json_is_retis_own(tmp_path: Path) -> None:
    out = str(tmp_path / "s.json")
    assert main(["sort", str(BASIC / "events.json"), "-o", out]) == 0
    file = retis.EventFile(out)
    assert file.sorted()
    series = [[str(e) for e in s] for s in file.series()]
    lines = [len(block.split("↳")) for block in (BASIC / "sort.txt").read_text().split("\n\n")[1:-1]]
    assert [len(s) for s in series[-len(lines) :]] == lines


def test_a_sorted_arrow_file_has_journeys(tmp_path: Path) -> None:
    source = write(tmp_path / "a.arrow", rows(1, 6))
    out = tmp_path / "s.arrow"
    assert main(["sort", str(source), "-o", str(out)]) == 0
    table = pa.ipc.open_stream(out.read_bytes()).read_all()
    assert table.column("timestamp_ns").to_pylist() == [3, 6, 1, 4, 2, 5]
    journeys = table.column("journey").combine_chunks()
    assert journeys.field("id").to_pylist() == [0, 0, 1, 1, 2, 2]
    assert journeys.field("index").to_pylist() == [0, 1] * 3


@pytest.mark.parametrize(
    ("path", "asked", "kind"),
    [
        ("a.arrow", None, "arrow"),
        ("a", None, "arrow"),
        ("a.json", None, "json"),
        ("a.jsonl", None, "json"),
        ("retis.data", None, "json"),
        ("a.json", "arrow", "arrow"),
        ("a", "json", "json"),
    ],
)
def test_the_name_of_the_output_says_its_format(path: str, asked: str | None, kind: str) -> None:
    assert output_format(path, asked) == kind


@pytest.mark.parametrize("command", ["print", "sort"])
def test_what_is_before_damage_is_shown_first(
    command: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = write(tmp_path / "a.arrow", rows(1, 6), rows(7, 6)).read_bytes()
    (tmp_path / "cut.arrow").write_bytes(whole[:-60])
    assert main([command, str(tmp_path / "cut.arrow")]) == 2
    out, err = capfd.readouterr()
    assert len(_lines(out)) == 6
    assert out.endswith("\n\n")
    assert err.startswith("error: ")
    assert "damaged" in err
    assert "\nhint: " in err
    assert "Traceback" not in err


def test_sorting_a_damaged_file_keeps_what_was_readable(tmp_path: Path) -> None:
    whole = write(tmp_path / "a.arrow", rows(1, 6), rows(7, 6)).read_bytes()
    (tmp_path / "cut.arrow").write_bytes(whole[:-60])
    out = tmp_path / "s.arrow"
    assert main(["sort", str(tmp_path / "cut.arrow"), "-o", str(out)]) == 2
    assert pa.ipc.open_stream(out.read_bytes()).read_all().num_rows == 6


def test_a_file_without_end_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    whole = write(tmp_path / "a.arrow", rows(1, 6)).read_bytes()
    (tmp_path / "killed.arrow").write_bytes(whole[:-8])
    assert main(["print", str(tmp_path / "killed.arrow")]) == 0
    out, err = capfd.readouterr()
    assert len(_lines(out)) == 6
    assert err.startswith("warning: ")
    assert "has no end" in err


def test_sections_of_later_versions_are_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    line = '{"common":{"timestamp":5},"kernel":{"symbol":"a","probe_type":"kprobe"},"news":{"x":1}}\n'
    startup = (BASIC / "events.json").read_text().splitlines()[0]
    (tmp_path / "e.json").write_text(f"{startup}\n{line}")
    assert main(["print", str(tmp_path / "e.json")]) == 0
    out, err = capfd.readouterr()
    assert "\n5 [k] a\n" in out
    assert err == "warning: 1 events have a section 'news' that this version can't show\n"


def test_the_input_is_not_overwritten(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "a.arrow", rows(1, 6))
    before = path.read_bytes()
    (tmp_path / "link").symlink_to(path)
    for out in (path, tmp_path / "link"):
        assert main(["sort", str(path), "-o", str(out)]) == 2
        assert "is the file to be sorted" in capfd.readouterr().err
        assert path.read_bytes() == before


def test_the_files_of_a_split_set(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    batches = [rows(n, 6) for n in range(1, 61, 6)]
    write(tmp_path / "a", *batches, limit_bytes=room_for(3, batch_of(batches[0])))
    parts = len(list(tmp_path.iterdir()))
    assert parts > 1
    first = str(tmp_path / "a.0")
    assert main(["print", f"{first}.."]) == 0
    out, err = capfd.readouterr()
    assert [int(line.split()[0]) for line in _lines(out)] == list(range(1, 61))
    assert re.findall(r"file id (\d+)", out) == [str(n) for n in range(parts)]
    assert err.count("\n") == 1
    assert f"a.{parts - 1} is the last file here, but not the end" in err  # no closing row was written
    assert main(["sort", f"{first}.."]) == 0
    assert len(_lines(capfd.readouterr().out)) == 60
    assert main(["sort", f"{first}..", "-o", str(tmp_path / "a.1")]) == 2
    assert "is the file to be sorted" in capfd.readouterr().err
    assert main(["sort", f"{first}..", "-o", str(tmp_path / f"a.{parts}")]) == 2
    assert f"would be taken for a file of the set {first}.." in capfd.readouterr().err
    assert not (tmp_path / f"a.{parts}").exists()


def test_the_default_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["print"]) == 2
    assert "fyke.arrow" in capfd.readouterr().err
    (tmp_path / "retis.data").write_bytes((BASIC / "events.json").read_bytes())
    assert main(["print"]) == 0
    assert capfd.readouterr().out == (BASIC / "print.txt").read_text()
    write(tmp_path / "fyke.arrow", rows(1, 2))
    assert main(["sort"]) == 0
    assert len(_lines(capfd.readouterr().out)) == 2


@pytest.mark.parametrize("command", ["print", "sort"])
def test_a_closed_pipe_is_quiet(command: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.arrow", *[rows(n, 1000) for n in range(1, 20_000, 1000)])
    line = f"set -o pipefail; {sys.executable} -m fyke {command} {path} | head -1"
    run = subprocess.run(["bash", "-c", line], capture_output=True, text=True, env=environment(), timeout=60)
    assert (run.returncode, run.stdout, run.stderr) == (0, "1000\n", "")


def test_a_full_disk_below_stdout(tmp_path: Path) -> None:
    path = write(tmp_path / "a.arrow", rows(1, 10))
    line = f"{sys.executable} -m fyke print {path} >/dev/full"
    run = subprocess.run(["bash", "-c", line], capture_output=True, text=True, env=environment(), timeout=60)
    assert run.returncode == 1
    assert run.stderr == "error: can't write to standard output: No space left on device\n"


def test_nothing_but_data_on_stdout(tmp_path: Path) -> None:
    path = write(tmp_path / "a.arrow", rows(1, 2), facts=dataclasses.replace(FACTS, order="journey"))
    run = fyke("--log-level", "debug", "sort", str(path))
    assert (run.returncode, run.stdout) == (0, "")
    assert "already sorted" in run.stderr


def _on_a_terminal(argv: list[str], **extra: str) -> str:
    """Run fyke with a terminal for stdout and return what arrives there."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "fyke", *argv],
        stdout=theirs,
        env=environment(**extra),
        stdin=subprocess.DEVNULL,
    ):
        os.close(theirs)
        seen = b""
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:  # EIO: the other end is closed
                break
            if not piece:
                break
            seen += piece
    os.close(ours)
    return seen.decode().replace("\r\n", "\n")


def test_a_terminal_gets_the_pager_and_colours(tmp_path: Path) -> None:
    path = str(write(tmp_path / "a.arrow", rows(1, 2)))
    pager = "sed s/ip_rcv/paged/"
    assert "\x1b[1mpaged\x1b[0m" in _on_a_terminal(["print", path], PAGER=pager, TERM="xterm")
    for argv, env in (
        (["print", path], {"NOPAGER": "1"}),
        (["print", path, "--no-pager"], {}),
        (["print", path], {"PAGER": ""}),
    ):
        shown = _on_a_terminal(argv, **{"PAGER": pager, "TERM": "xterm", "NO_COLOR": "1", **env})
        assert "[k] ip_rcv #" in shown
    assert "paged #" in _on_a_terminal(["sort", path, "--color", "never"], PAGER=pager, TERM="xterm")


def test_a_pager_that_is_left_early_is_no_error(tmp_path: Path) -> None:
    path = str(write(tmp_path / "a.arrow", *[rows(n, 1000) for n in range(1, 20_000, 1000)]))
    assert _on_a_terminal(["print", path], PAGER="head -1", TERM="dumb") == "1000\n"


def test_no_pager_for_a_pipe(tmp_path: Path) -> None:
    path = str(write(tmp_path / "a.arrow", rows(1, 2)))
    assert "paged" not in fyke("print", path, PAGER="sed s/ip_rcv/paged/").stdout


def test_colour_by_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    assert wants_color("always")
    assert not wants_color("never")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert wants_color("auto")
    monkeypatch.setenv("NO_COLOR", "1")
    assert not wants_color("auto")
