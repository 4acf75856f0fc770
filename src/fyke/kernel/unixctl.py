"""The control sockets of Open vSwitch's daemons: commands as ovs-appctl(8) gives them, by JSON-RPC.

A daemon reads one request after another from a UNIX socket and answers each with a JSON object that has
`result` or `error` (lib/unixctl.c in Open vSwitch).
"""

from __future__ import annotations

import json
import os
import re
import socket
import time
from pathlib import Path

VSWITCHD = "ovs-vswitchd"
_COMM_BYTES = 15  # what the kernel keeps of a process' name
MAX_ANSWER_BYTES = 4 << 20


class Refused(Exception):
    """A daemon answers with an error; the text is its own."""


class Unixctl:
    """A connection to one daemon, made when it is first needed. Not for several threads at a time."""

    def __init__(self, path: str, timeout_seconds: float = 0.5) -> None:
        self.path = path
        self._timeout = timeout_seconds
        self._socket: socket.socket | None = None

    def run(self, command: str, *arguments: str) -> str:
        """Return what a command prints.

        Raises Refused with the daemon's words; OSError, also TimeoutError, when there is no answer.
        """
        try:
            return self._ask(command, arguments)
        except OSError:
            self.close()  # an answer that is late would be taken for the next one's
            raise

    def close(self) -> None:
        """End the connection; the next command makes another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _ask(self, command: str, arguments: tuple[str, ...]) -> str:
        end = time.monotonic() + self._timeout
        if self._socket is None:
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.settimeout(self._timeout)
            self._socket.connect(self.path)
        self._socket.settimeout(self._timeout)
        self._socket.sendall(json.dumps({"id": 0, "method": command, "params": arguments}).encode())
        answer = b""
        while len(answer) < MAX_ANSWER_BYTES:
            self._socket.settimeout(max(0.001, end - time.monotonic()))
            part = self._socket.recv(1 << 16)
            if not part:
                raise ConnectionError("the daemon hung up")
            answer += part
            if part.rstrip().endswith(b"}") and (found := _parsed(answer)) is not None:
                return _result(found)
        raise OSError("the answer has no end")


def _parsed(answer: bytes) -> dict[str, object] | None:
    """Return an answer, None while it isn't whole."""
    try:
        found = json.loads(answer)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _result(answer: dict[str, object]) -> str:
    if answer.get("error") is not None:
        raise Refused(str(answer["error"]).strip())
    return str(answer.get("result", ""))


def vswitchd_sockets(proc: Path = Path("/proc")) -> list[str]:
    """Return the control socket of each ovs-vswitchd that runs, in whatever mount namespace it is.

    They are found as the kernel lists them; $OVS_RUNDIR is looked in, too, and first. A daemon of which no
    socket is found isn't in the list.
    """
    found: dict[tuple[int, int], str] = {}
    for process in sorted(proc.glob("[0-9]*"), key=lambda process: int(process.name)):
        if _text(process / "comm").rstrip("\n") != VSWITCHD[:_COMM_BYTES]:
            continue
        for path in (*_in_rundir(process), *_listed(process)):
            if path.is_socket():
                # One that two ways lead to is one socket.
                found.setdefault((path.stat().st_dev, path.stat().st_ino), str(path))
    return list(found.values())


def _in_rundir(process: Path) -> list[Path]:
    rundir = os.environ.get("OVS_RUNDIR")
    return [Path(rundir, f"{VSWITCHD}.{process.name}.ctl")] if rundir else []


def _listed(process: Path) -> list[Path]:
    """Return the sockets in its network namespace that have the name of its own, as seen from here."""
    # Its number in its own PID namespace is part of the name.
    numbers = re.search(r"^NSpid:.*\t(\d+)$", _text(process / "status"), re.MULTILINE)
    name = f"/{VSWITCHD}.{numbers[1] if numbers else process.name}.ctl"
    lines = _text(process / "net" / "unix").splitlines()
    return [
        Path(f"{process}/root{path}")
        for path in {line.split(" ")[-1] for line in lines if line.endswith(name)}
    ]


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
