"""`-` as the name of a file: standard input and standard output."""

from __future__ import annotations

import io
import os
import pty
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cli_samples import CORPUS

from fyke.cli.main import main
from fyke.events.reader import open_events

NAT = CORPUS / "nat-ping" / "events.json"
COUNT = "SELECT count(*) AS n FROM events"

Capture = pytest.CaptureFixture[bytes]


@pytest.fixture
def stdin() -> Iterator[Callable[[bytes], None]]:
    """Makes a pipe that holds these bytes standard input. They are few enough for the pipe to hold."""
    kept = os.dup(0)

    def feed(data: bytes) -> None:
        out, into = os.pipe()
        os.dup2(out, 0)
        os.close(out)
        assert os.write(into, data) == len(data)
        os.close(into)

    yield feed
    os.dup2(kept, 0)
    os.close(kept)


def written(path: Path, *argv: str) -> bytes:
    """Return what a command writes to a file by that name, the last argument."""
    assert main([*argv, str(path)]) == 0
    return path.read_bytes()


@pytest.mark.parametrize(("options", "name"), [([], "a.arrow"), (["--out-format", "json"], "a.json")])
def test_sort_writes_what_it_writes_to_a_file(
    options: list[str], name: str, tmp_path: Path, capfdbinary: Capture
) -> None:
    wanted = written(tmp_path / name, "sort", str(NAT), "-o")
    assert capfdbinary.readouterr() == (b"", b"")
    assert main(["sort", str(NAT), *options, "-o", "-"]) == 0
    out, err = capfdbinary.readouterr()
    assert out == wanted
    assert err == b""
    assert not Path("-").exists()


@pytest.mark.parametrize("kind", ["arrow", "json", "csv", "pcapng", "perfetto"])
def test_convert_writes_what_it_writes_to_a_file(kind: str, tmp_path: Path, capfdbinary: Capture) -> None:
    wanted = written(tmp_path / "a", "convert", "--to", kind, str(NAT))
    capfdbinary.readouterr()
    assert main(["convert", "--to", kind, str(NAT), "-"]) == 0
    assert capfdbinary.readouterr().out == wanted


def test_parquet_can_be_piped(capfdbinary: Capture) -> None:
    assert main(["convert", "--to", "parquet", str(NAT), "-"]) == 0
    with open_events(str(NAT)) as source:
        rows = sum(len(batch) for batch in source.batches())
    assert pq.read_table(io.BytesIO(capfdbinary.readouterr().out)).num_rows == rows


def test_pcap_and_query_take_the_name_for_what_they_write_to_anyway(capfdbinary: Capture) -> None:
    for argv in (["pcap", str(NAT)], ["query", COUNT, str(NAT)]):
        assert main(argv) == 0
        wanted = capfdbinary.readouterr().out
        assert main([*argv, "-o", "-"]) == 0
        assert capfdbinary.readouterr().out == wanted


@pytest.mark.parametrize("kind", ["json", "arrow"])
@pytest.mark.parametrize(
    "argv",
    [["print"], ["sort"], ["sort", "-f", "icmp", "--journeys"], ["stats"], ["pcap"], ["query", COUNT]],
    ids=" ".join,
)
def test_what_comes_on_stdin_is_read(
    argv: list[str], kind: str, stdin: Callable[[bytes], None], tmp_path: Path, capfdbinary: Capture
) -> None:
    path = tmp_path / f"a.{kind}"
    data = written(path, "convert", str(NAT))
    assert main([*argv, str(path)]) == 0
    wanted = capfdbinary.readouterr().out
    stdin(data)
    assert main([*argv, "-"]) == 0
    assert capfdbinary.readouterr().out == wanted
    assert wanted


def test_a_redirected_file_is_read_as_often_as_needed(tmp_path: Path, capfdbinary: Capture) -> None:
    kept = os.dup(0)
    try:
        with NAT.open("rb") as file:
            os.dup2(file.fileno(), 0)
            file.read(100)  # where it stands doesn't matter
            assert main(["print", "-f", "icmp", "--journeys", "-"]) == 0
    finally:
        os.dup2(kept, 0)
        os.close(kept)
    shown = capfdbinary.readouterr().out
    assert main(["print", "-f", "icmp", "--journeys", str(NAT)]) == 0
    assert capfdbinary.readouterr().out == shown


def test_from_pipe_to_pipe(stdin: Callable[[bytes], None], capfdbinary: Capture) -> None:
    stdin(NAT.read_bytes())
    assert main(["convert", "-", "-"]) == 0
    table = pa.ipc.open_stream(capfdbinary.readouterr().out).read_all()
    assert table.column("kernel").null_count < table.num_rows > 0


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["sort", str(NAT), "-o", "-", "--print"], "--print and -o - both write to standard output"),
        (["collect", "-o", "-", "--print"], "--print and -o - both write to standard output"),
        (["query", "-"], "standard input can't be the SQL and the recording"),
    ],
    ids=str,
)
def test_what_goes_nowhere(argv: list[str], said: str, capfdbinary: Capture) -> None:
    assert main(argv) == 2
    out, err = capfdbinary.readouterr()
    assert said in err.decode()
    assert out == b""


@pytest.mark.parametrize(
    "argv",
    [
        ["sort", str(NAT), "-o", "-"],
        ["convert", str(NAT), "-"],
        ["convert", str(NAT), "-", "--to", "pcapng"],
        ["collect", "-o", "-"],
        ["pcap", str(NAT), "-o", "-"],
    ],
    ids=lambda argv: argv[0],
)
def test_a_terminal_gets_text_only(argv: list[str], capfdbinary: Capture) -> None:
    kept = os.dup(1)
    owner, terminal = pty.openpty()
    try:
        os.dup2(terminal, 1)
        code = main(argv)
    finally:
        os.dup2(kept, 1)
        for fd in (kept, owner, terminal):
            os.close(fd)
    assert code == 2
    assert "terminal" in capfdbinary.readouterr().err.decode()


def test_a_full_device_is_told(capfdbinary: Capture) -> None:
    kept = os.dup(1)
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        os.dup2(full, 1)
        code = main(["sort", str(NAT), "-o", "-"])
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(full)
    assert code == 1
    assert "no space left for standard output: 0 events" in capfdbinary.readouterr().err.decode()


def test_the_input_is_not_written_to(tmp_path: Path, capfdbinary: Capture) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(NAT.read_bytes())
    kept = os.dup(1)
    appended = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        os.dup2(appended, 1)
        code = main(["sort", str(path), "-o", "-"])
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(appended)
    assert code == 2
    assert "is the file to be sorted" in capfdbinary.readouterr().err.decode()
    assert path.read_bytes() == NAT.read_bytes()
