"""Boots a kernel in QEMU with a folder, read-only, as its root, and runs one script in it."""

from __future__ import annotations

import re
import shlex
import subprocess
import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import initramfs
from kernels import Installed
from machine import MACHINES, Share

__all__ = ["NOT_UP", "Run", "run"]

NOT_UP = "didn't come up"
"""Why a run is over whose kernel went down before the first line of the script."""

_CHECKOUT = Path(__file__).resolve().parents[2]
_BOOT_SECONDS = 240
"""A kernel that hasn't come up by then won't: emulated, 12 s are usual, 70 s are seen on a busy machine."""


@dataclass(frozen=True, slots=True)
class Run:
    """How a guest went. exit_code is the script's, or None when it didn't end; then why says what was."""

    exit_code: int | None
    why: str
    boot_seconds: float
    seconds: float
    last_lines: list[str]


def run(
    kernel: Installed,
    script: str,
    results: Path,
    *,
    copies: dict[Path, Path],
    minutes: float,
    root: Path = Path("/"),
    in_turn: bool = False,
) -> Run:
    """Boot and run a shell script as root, in the checkout.

    copies: folders (the keys) in whose place the guest sees a copy (the values).
    results: a folder that the guest may write to, as /run/results; console.log and dmesg are left there.
    minutes: the guest is ended when it takes longer.
    root: the guest's root; this machine's own, unless the guest is of another architecture.
    in_turn: its processors run one at a time.
    """
    results.mkdir(parents=True, exist_ok=True)
    foreign = root != Path("/")
    (results / "initramfs").write_bytes(
        initramfs.make(
            kernel.root, kernel.release, root / "bin/busybox", checkout=_CHECKOUT if foreign else None
        )
    )
    arguments = ["/run/kernel/lib/modules", "/run/results/script"]
    arguments += [str(path) for folder, copy in copies.items() for path in (copy, folder)]
    init = shlex.join(["sh", f"{_CHECKOUT}/tests/vm/guest.sh", *arguments])
    (results / "init").write_text(f"exec {init}\n")
    (results / "script").write_text(f"cd {shlex.quote(str(_CHECKOUT))}\n{script}\n")
    shares = [
        Share("root", root),
        Share("kernel", kernel.root),
        Share("results", results.resolve(), readonly=False),
        *([Share("checkout", _CHECKOUT)] if foreign else []),
    ]
    started = time.monotonic()
    process = subprocess.Popen(
        MACHINES[kernel.architecture].command(kernel.image, results / "initramfs", shares, in_turn=in_turn),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout
    console = _Console(process.stdout, results / "console.log")
    why = ""
    try:
        if not console.ready.wait(_BOOT_SECONDS):
            why = f"didn't come up within {_BOOT_SECONDS} s"
        else:
            console.join(started + 60 * minutes - time.monotonic())
            if console.is_alive():
                why = f"didn't end within {minutes} minutes"
            elif console.exit_code is None:
                why = "went down before the tests ended" if console.came_up else NOT_UP
    finally:
        if console.is_alive():
            process.kill()
        process.wait()
    console.join()
    boot = (console.ready_at or time.monotonic()) - started
    return Run(console.exit_code, why, boot, time.monotonic() - started, list(console.last))


class _Console(threading.Thread):
    """Copies what the guest prints to a file, and notices when it is up and how its script ended."""

    def __init__(self, stream: IO[bytes], log: Path) -> None:
        super().__init__(daemon=True)
        self._stream = stream
        self._log = log
        self.ready = threading.Event()
        self.came_up = False
        self.ready_at: float | None = None
        self.exit_code: int | None = None
        self.last: deque[str] = deque(maxlen=60)
        self.start()

    def run(self) -> None:
        with self._stream, self._log.open("wb") as log:
            for raw in self._stream:
                log.write(raw)
                log.flush()
                line = re.sub(r"[\x00-\x08\x0b-\x1f\x7f]", "", raw.decode(errors="replace")).rstrip()
                self.last.append(line)
                if line.startswith("guest: ready"):
                    self.came_up = True
                    self.ready_at = time.monotonic()
                    self.ready.set()
                elif line.startswith("guest: exit "):
                    self.exit_code = int(line.split()[2])
        self.ready.set()  # nothing more will come: let the waiter see that
