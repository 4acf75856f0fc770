"""`fyke collect` as its user runs it, in a process of its own, looked at from outside while it runs."""

from __future__ import annotations

import atexit
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa

FYKE = (sys.executable, "-m", "fyke")
TRACEPOINTS = ("net:netif_receive_skb", "net:net_dev_start_xmit")
_READY_SECONDS = 120  # emulated machines are slow
_STOP_SECONDS = 60


@dataclass(frozen=True)
class Ended:
    """How a collection went. hits, events, lost, filtered: of the probes asked for.

    cpu_seconds: user and system, of its process alone, since it was ready. peak_bytes: most resident memory,
    the rings left out.
    """

    events: int
    lost: int
    hits: int
    filtered: int
    causes: dict[str, int]
    cpu_seconds: float
    peak_bytes: int
    ring_bytes: int
    file_bytes: int
    stop_seconds: float

    @property
    def adds_up(self) -> bool:
        """Whether every hit of a probe is an event in the file, filtered, or counted as lost."""
        return self.hits == self.events + self.filtered + self.lost


@dataclass
class Collecting:
    """A collection that is ready. ready_seconds: from exec until then."""

    process: subprocess.Popen[bytes]
    out: Path
    log: Path
    ready_seconds: float
    tracepoints: tuple[str, ...]
    _cpu_at_ready: float = 0.0

    def program_time(self) -> tuple[int, int]:
        """Return nanoseconds and runs of all its programs so far; counted while statistics are on."""
        programs: dict[str, tuple[int, int]] = {}
        for name in os.listdir(f"/proc/{self.process.pid}/fdinfo"):
            facts = _fields(Path(f"/proc/{self.process.pid}/fdinfo/{name}"))
            if "run_time_ns" in facts:
                programs[facts["prog_id"]] = int(facts["run_time_ns"]), int(facts["run_cnt"])
        return sum(t for t, _ in programs.values()), sum(n for _, n in programs.values())

    def stop(self) -> Ended:
        """End it by SIGINT, and wait."""
        pid = self.process.pid
        rings = _ring_bytes(pid)
        started = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        usage, peak = watch(self.process, _STOP_SECONDS)
        seconds = time.monotonic() - started
        if self.process.returncode:
            raise RuntimeError(f"fyke collect failed: {self.log.read_text()}")
        return self._result(usage, peak - rings, rings, seconds)

    def _result(self, usage: resource.struct_rusage, peak: int, rings: int, seconds: float) -> Ended:
        closing, causes = _notes(self.out)
        probes = {p["symbol"]: p for p in json.loads(closing["probes"])}
        return Ended(
            events=closing["events"],
            lost=closing["lost"],
            hits=sum(probes[symbol]["hits"] for symbol in self.tracepoints),
            filtered=sum(probes[symbol]["filtered"] for symbol in self.tracepoints),
            causes=causes,
            cpu_seconds=usage.ru_utime + usage.ru_stime - self._cpu_at_ready,
            peak_bytes=peak,
            ring_bytes=rings,
            file_bytes=self.out.stat().st_size,
            stop_seconds=seconds,
        )


@cache
def environment() -> dict[str, str]:
    """Return the environment for fyke: its bytecode is kept, as where it is installed."""
    folder = tempfile.TemporaryDirectory(prefix="fyke-bytecode-")
    atexit.register(folder.cleanup)
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPYCACHEPREFIX": folder.name}


def watch(process: subprocess.Popen[bytes], limit_seconds: float) -> tuple[resource.struct_rusage, int]:
    """Wait for the end of a process; return what it used, and the bytes it had resident at most.

    (The kernel's own ru_maxrss begins with what the process that started it had.)
    """
    peak, started = 0, time.monotonic()
    while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
        peak = max(peak, _peak_bytes(process.pid))
        if time.monotonic() - started > limit_seconds:
            process.kill()
            process.wait()
            raise RuntimeError(f"{process.args!r} didn't end within {limit_seconds} s")
        time.sleep(0.002)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage, peak


@contextmanager
def collecting(
    folder: Path, *options: str, tracepoints: tuple[str, ...] = TRACEPOINTS, profile: str = ""
) -> Iterator[Collecting]:
    """Have `fyke collect` running with these options, at the two tracepoints, into FOLDER/events.arrow."""
    out, ready, log = folder / "events.arrow", folder / "ready", folder / "log"
    ready.unlink(missing_ok=True)
    probes = [word for name in tracepoints for word in ("-p", f"tp:{name}")]
    general = ("-p", profile) if profile else ()
    command = [*FYKE, *general, "collect", "-o", str(out), "--ready-file", str(ready), *probes, *options]
    with open(log, "wb") as stream:
        started = time.monotonic()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, env=environment()
        )
    try:
        while not _has_content(ready):
            if process.poll() is not None:
                raise RuntimeError(f"{' '.join(command)} failed: {log.read_text()}")
            if time.monotonic() - started > _READY_SECONDS:
                raise RuntimeError(f"fyke wasn't ready within {_READY_SECONDS} s")
            time.sleep(0.001)
        seconds = time.monotonic() - started
        yield Collecting(process, out, log, seconds, tracepoints, _cpu_seconds(process.pid))
    finally:
        if process.returncode is None:
            process.kill()
            process.wait()


def _has_content(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except FileNotFoundError:
        return False


def _notes(path: Path) -> tuple[dict[str, Any], dict[str, int]]:
    """Return the closing row, and the losses noted, by cause."""
    closing: dict[str, Any] = {}
    causes: dict[str, int] = {}
    with pa.ipc.open_stream(path) as stream:
        for batch in stream:
            for row in _rows(batch, "gap"):
                causes[row["cause"]] = causes.get(row["cause"], 0) + row["count"]
            for row in _rows(batch, "closing"):
                closing = row
    return closing, causes


def _rows(batch: pa.RecordBatch, column: str) -> list[dict[str, Any]]:
    return list(batch.column(column).drop_null().to_pylist())


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # utime, stime: proc_pid_stat(5)


def _peak_bytes(pid: int) -> int:
    """Return the most it ever had resident; 0 when it is gone."""
    try:
        return int(_fields(Path(f"/proc/{pid}/status"))["VmHWM"].split()[0]) << 10
    except (KeyError, OSError):
        return 0


def _ring_bytes(pid: int) -> int:
    """Return what the rings' mappings count as resident: each is mapped twice (kernel/bpf/ringbuf.c)."""
    total, is_ring = 0, False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        name, _, rest = line.partition(" ")
        if not name.endswith(":"):
            is_ring = line.endswith("bpf-map")
        elif name == "Rss:" and is_ring:
            total += int(rest.split()[0]) << 10
    return total


def _fields(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text().splitlines()
    except OSError:  # closed meanwhile
        return {}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
