"""Tools that print what a namespace's netfilter tells over netlink, running while a test goes on."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from live.netns import Netns

_SECONDS = 60
_NETLINK_NETFILTER = 12  # include/uapi/linux/netlink.h; /proc/net/netlink has the groups as a mask


class Monitor:
    """A tool that prints a line for whatever happens."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._lines: list[str] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self._lines.append(line.decode())

    def listening(self, group: int) -> bool:
        """Say whether it hears of what happens from now on."""
        rows = Path(f"/proc/{self._process.pid}/net/netlink").read_text().splitlines()[1:]
        columns = [row.split() for row in rows]
        return any(int(c[1]) == _NETLINK_NETFILTER and int(c[3], 16) >> (group - 1) & 1 for c in columns)

    def settle(self, seconds: float = 0.5, at_least: int = 0) -> None:
        """Wait until it has nothing more to say for so long, and for that many lines, a minute at most."""
        before, end = -1, time.monotonic() + _SECONDS
        while len(self._lines) != before or (before < at_least and time.monotonic() < end):
            before = len(self._lines)
            time.sleep(seconds)

    def lines(self, at_least: int = 0) -> list[str]:
        """Return all lines so far, once no more come; wait for that many."""
        self.settle(at_least=at_least)
        return list(self._lines)


@contextmanager
def monitor(ns: Netns, *command: str, group: int) -> Iterator[Monitor]:
    """Run a tool in a namespace; it has begun when it listens to a group of netfilter's netlink."""
    process = ns.popen("stdbuf", "-oL", *command)
    running = Monitor(process)
    try:
        end = time.monotonic() + _SECONDS
        while not running.listening(group):
            if time.monotonic() > end or process.poll() is not None:
                raise RuntimeError(f"{' '.join(command)} doesn't begin")
            time.sleep(0.05)
        yield running
    finally:
        process.kill()
        process.communicate()
