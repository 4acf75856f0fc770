"""How a collection starts and ends as a command: signals, limits, files, crashes; nothing is left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from fyke.events.reader import open_events
from live.command import collecting, fyke
from live.sockets import know_each_other
from live.sources import bpf_objects, none_but
from live.topology import TwoNs, two_ns
from live.traffic import udp_send
from live.waiting import eventually


def events_of(path: Path) -> list[dict[str, object]]:
    """Return the events of a file, without its notes."""
    with open_events(str(path)) as source:
        rows = [row for batch in source.batches() for row in batch.to_pylist()]
    return [row for row in rows if row["gap"] is None and row["closing"] is None]


def closing_of(path: Path) -> dict[str, object]:
    """Return the closing row of a file."""
    with open_events(str(path)) as source:
        (closing,) = [
            row["closing"] for batch in source.batches() for row in batch.to_pylist() if row["closing"]
        ]
    return dict(closing)


def send(pair: TwoNs, count: int = 20) -> None:
    know_each_other(pair.a, pair.b)
    udp_send(pair.a, pair.b.v4, *[b"lifecycle"] * count)


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.host_only)])
@pytest.mark.ends_only
def test_a_signal_ends_it_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    out = tmp_path / "out.arrow"
    before = bpf_objects()
    with two_ns() as pair, collecting(tmp_path, "-o", str(out)) as running:
        assert bpf_objects() - before, "something of ours is in the kernel while it runs"
        send(pair)
        code, stdout, stderr = running.end(number)
    assert code == 0
    assert stdout == ""
    assert "event(s) written; 0 lost" in stderr
    events = events_of(out)
    assert len(events) >= 40
    closing = closing_of(out)
    assert closing["events"] == len(events)
    assert closing["reason"] == "signal"
    none_but(before)


def test_kill_leaves_a_readable_file_and_nothing_in_the_kernel(tmp_path: Path) -> None:
    out = tmp_path / "out.arrow"
    before = bpf_objects()
    with two_ns() as pair, collecting(tmp_path, "-o", str(out)) as running:
        send(pair)
        empty = out.stat().st_size
        eventually(lambda: out.stat().st_size != empty)  # batches are written once a second
        code, _, _ = running.end(signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert events_of(out)
    none_but(before)
    printed = fyke("print", "--no-pager", str(out))
    assert "lifecycle" not in printed.stdout
    assert "proto UDP" in printed.stdout
    assert "no end" in printed.stderr


@pytest.mark.host_only
def test_stop_after_counts_exactly(tmp_path: Path) -> None:
    out = tmp_path / "out.arrow"
    with two_ns() as pair, collecting(tmp_path, "-o", str(out), "--stop-after", "7") as running:
        send(pair)
        code, _, stderr = running.end(None)
    assert code == 0
    assert len(events_of(out)) == 7
    assert "7 event(s) written" in stderr
    assert closing_of(out)["reason"] == "count"


@pytest.mark.host_only
def test_a_command_ends_it(tmp_path: Path) -> None:
    """Its events are there, its output isn't, and its exit is the end."""
    out = tmp_path / "out.arrow"
    with two_ns() as pair:
        know_each_other(pair.a, pair.b)
        command = f"echo loud; ip netns exec {pair.a.ns.name} ping -c 2 -i 0.01 {pair.b.v4}"
        done = fyke("collect", "-o", str(out), "--cmd", command)
    assert "loud" not in done.stdout + done.stderr
    pings = [row for row in events_of(out) if row["task"]["comm"] == "ping"]  # type: ignore[index]
    assert len(pings) >= 8
    assert closing_of(out)["reason"] == "command"


@pytest.mark.host_only
def test_a_command_is_ended_with_it(tmp_path: Path) -> None:
    marker = tmp_path / "pid"
    with collecting(tmp_path, "--cmd", f"echo $$ > {marker}; sleep 1000") as running:
        eventually(lambda: marker.exists() and marker.read_text())
        code, _, _ = running.end(signal.SIGINT)
    assert code == 0
    assert not Path("/proc", marker.read_text().strip()).exists()


@pytest.mark.host_only
def test_two_signals_are_not_worse_than_one(tmp_path: Path) -> None:
    out = tmp_path / "out.arrow"
    before = bpf_objects()
    with two_ns() as pair, collecting(tmp_path, "-o", str(out)) as running:
        send(pair)
        running.process.send_signal(signal.SIGINT)
        code, _, stderr = running.end(signal.SIGINT)
    assert code in (0, 130), "130 when the second came before the end"
    assert "Traceback" not in stderr
    with open_events(str(out)) as source:
        list(source.batches())
        assert source.complete
    none_but(before)


@pytest.mark.host_only
def test_a_closed_pipe_is_quiet(tmp_path: Path) -> None:
    with two_ns() as pair, collecting(tmp_path) as running:
        assert running.process.stdout
        running.process.stdout.close()
        send(pair)
        running.process.stdout = None
        code, _, stderr = running.end(None)
    assert code == 0
    assert "rror" not in stderr


@pytest.mark.host_only
def test_live_text_comes_as_it_happens(tmp_path: Path) -> None:
    with two_ns() as pair, collecting(tmp_path, "--format", "single-line") as running:
        assert running.process.stdout
        send(pair, 1)
        lines = iter(running.process.stdout.readline, "")
        line = next(line for line in lines if pair.a.v4 in line)
        assert "[tp] net:net_dev_start_xmit #" in line
        assert f"if {pair.a.ifindex} ({pair.a.dev})" in line
        code, _, _ = running.end()
    assert code == 0


@pytest.mark.host_only
def test_a_full_disk(tmp_path: Path) -> None:
    """A file system of 160 KiB: what was written stays readable, and the end says so."""
    disk = tmp_path / "disk"
    disk.mkdir()
    ping = "ip netns exec $0 ping -q -i 0.002 -c 3000 $1"
    script = (
        f"mount -t tmpfs -o size=160k none {disk} && "
        f'{sys.executable} -m fyke collect -o {disk}/out.arrow --cmd "{ping}"; code=$?; '
        f"cp {disk}/out.arrow {tmp_path}; exit $code"
    )
    with two_ns() as pair:
        done = subprocess.run(
            ["unshare", "-m", "--propagation", "private", "sh", "-c", script, pair.a.ns.name, pair.b.v4],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 1, done.stderr
    assert "no space" in done.stderr.lower()
    assert "Traceback" not in done.stderr
    assert events_of(tmp_path / "out.arrow")


@pytest.mark.host_only
def test_rotation(tmp_path: Path) -> None:
    out = tmp_path / "out.arrow"
    stale = tmp_path / "out.arrow.99"
    with two_ns() as pair:
        know_each_other(pair.a, pair.b)
        command = f"ip netns exec {pair.a.ns.name} ping -q -c 3 -i 0.01 {pair.b.v4}"
        fyke("collect", "-o", str(out), "--cmd", command, "--out-rotate", "40KiB")
        os.rename(tmp_path / "out.arrow.0", stale)
        done = fyke("collect", "-o", str(out), "--cmd", command, "--out-rotate", "40KiB")
    assert "out.arrow.0" in {path.name for path in tmp_path.iterdir()}
    assert all(path.stat().st_size <= 40 << 10 for path in tmp_path.glob("out.arrow.*"))
    printed = fyke("print", "--no-pager", f"{tmp_path}/out.arrow.0..")
    assert printed.stdout.count("proto ICMP (1) type 8") >= 6
    assert "removed" in done.stderr or stale.exists()


@pytest.mark.host_only
def test_a_collection_is_piped_to_what_reads_it(tmp_path: Path) -> None:
    """The name of the machine comes with it."""
    ready = tmp_path / "ready"
    sql = "SELECT file, host, count(*) AS n FROM events WHERE symbol = 'skb:kfree_skb' GROUP BY ALL"
    command = f"{sys.executable} -m fyke collect -o - --stop-after 5 -p skb:kfree_skb --ready-file {ready}"
    with two_ns() as pair:
        piped = subprocess.Popen(
            ["sh", "-c", f'{command} | {sys.executable} -m fyke query "{sql}" - --format json'],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        eventually(lambda: ready.exists() or piped.poll() is not None)
        send(pair)
        stdout, stderr = piped.communicate(timeout=60)
    assert json.loads(stdout) == [{"file": "/dev/stdin", "host": os.uname().nodename, "n": 5}]
    assert "5 event(s) written" in stderr


@pytest.mark.host_only
def test_retis_json(tmp_path: Path) -> None:
    """Retis' own library reads what is collected as JSON, and prints it as we do."""
    retis = pytest.importorskip("retis", reason="Retis' library is not installed")
    out = tmp_path / "out.json"
    with two_ns() as pair:
        know_each_other(pair.a, pair.b)
        command = f"ip netns exec {pair.a.ns.name} ping -q -c 3 -i 0.01 {pair.b.v4}"
        fyke("collect", "-o", str(out), "--cmd", command, "--skb-sections", "all")
    theirs = [str(event) for event in retis.EventReader(str(out))][1:]
    ours = fyke("print", "--no-pager", str(out)).stdout.split("\n\n")[1:]
    ours = [text.strip("\n") for text in ours if text.strip()]
    assert len(theirs) >= 12
    theirs = theirs[: len(ours)]  # the closing row has no text of ours
    assert ours == [text.strip("\n") for text in theirs]


@pytest.mark.host_only
def test_no_root(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fyke", "collect", "--cmd", "true"],
        user=65534,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd="/",
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-2].startswith("error: ")
    assert "root" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "wrong",
    [
        ("-p", "tp:no:such"),
        ("-c", "nonsense"),
        ("--buffer", "lots"),
        ("-p", "tp:skb:kfree_skb/stacks"),
        ("--snaplen", "0"),
    ],
)
@pytest.mark.host_only
def test_a_wrong_option_leaves_an_earlier_file_alone(tmp_path: Path, wrong: tuple[str, str]) -> None:
    out = tmp_path / "out.arrow"
    out.write_bytes(b"precious")
    before = bpf_objects()
    done = fyke("collect", "-o", str(out), "--cmd", "true", *wrong, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("error: ") == 1
    assert out.read_bytes() == b"precious"
    none_but(before)


@pytest.mark.host_only
def test_hostile_names_print_harmlessly(tmp_path: Path) -> None:
    """A task and an interface named with escape sequences, quotes and bytes that aren't UTF-8."""
    out = tmp_path / "out.arrow"
    comm, dev = b"\x1b[31m\"'\n\xff", b'\x1b]0;x\x07"\xfe'
    script = (
        "import ctypes, socket, sys; ctypes.CDLL(None).prctl(15, bytes.fromhex(sys.argv[1]));"
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.sendto(b'x', (sys.argv[2], 4242))"
    )
    with two_ns() as pair, collecting(tmp_path, "-o", str(out)) as running:
        know_each_other(pair.a, pair.b)
        pair.b.ns.run("ip", "link", "set", pair.b.dev, "down")
        subprocess.run(
            [b"ip", b"-n", pair.b.ns.name.encode(), b"link", b"set", pair.b.dev.encode(), b"name", dev],
            check=True,
        )
        subprocess.run([b"ip", b"-n", pair.b.ns.name.encode(), b"link", b"set", dev, b"up"], check=True)
        with pair.a.ns.entered():
            subprocess.run([sys.executable, "-c", script, comm.hex(), pair.b.v4], check=True)
        running.end()
    from fyke.events.escape import name_to_bytes

    events = events_of(out)
    tasks = {name_to_bytes(row["task"]["comm"]) for row in events}  # type: ignore[index]
    devices = {name_to_bytes(row["dev"]["name"]) for row in events if row["dev"]}  # type: ignore[index]
    assert comm in tasks
    assert dev in devices
    for command in ("print", "sort"):
        shown = fyke(command, "--no-pager", "--format", "single-line", str(out)).stdout
        assert not set(shown) & {chr(n) for n in range(32)} - {"\n"}
        assert "\x1b" not in shown


@pytest.mark.host_only
def test_plain_pyarrow_reads_it(tmp_path: Path) -> None:
    out = tmp_path / "out.arrow"
    with two_ns() as pair, collecting(tmp_path, "-o", str(out)) as running:
        send(pair)
        running.end()
    with out.open("rb") as stream:
        table = pa.ipc.open_stream(stream).read_all()
    assert table.num_rows == len(events_of(out)) + 1
