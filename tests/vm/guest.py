"""Boots a kernel in QEMU with this machine's files, read-only, as its root, and runs one script in it."""

from __future__ import annotations

import os
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

__all__ = ["Run", "run"]

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


def run(kernel: Installed, script: str, results: Path, *, copies: dict[Path, Path], minutes: float) -> Run:
    """Boot and run a shell script as root, in the checkout.

    copies: folders (the keys) in whose place the guest sees a copy (the values).
    results: a folder that the guest may write to, as /run/results; console.log and dmesg are left there.
    minutes: the guest is ended when it takes longer.
    """
    results.mkdir(parents=True, exist_ok=True)
    (results / "initramfs").write_bytes(initramfs.make(kernel.root, kernel.release))
    arguments = [kernel.root / "lib/modules", "/run/results/script"]
    arguments += [path for folder, copy in copies.items() for path in (copy, folder)]
    init = shlex.join(map(str, ["sh", _CHECKOUT / "tests/vm/guest.sh", *arguments]))
    (results / "init").write_text(f"exec {init}\n")
    (results / "script").write_text(f"cd {shlex.quote(str(_CHECKOUT))}\n{script}\n")
    started = time.monotonic()
    process = subprocess.Popen(
        _qemu(kernel, results),
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
                why = "went down before the tests ended" if console.came_up else "didn't come up"
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


def _qemu(kernel: Installed, results: Path) -> list[str]:
    # KVM is for the asking only: where it is there it need not work, in a machine that is virtual itself.
    fast = bool(os.environ.get("FYKE_VM_KVM"))
    append = (
        "console=ttyS0 quiet loglevel=4 panic=-1 panic_on_oops=1 "
        # Else 5.10 takes the HPET for its clock, and each reading leaves the emulation.
        "tsc=reliable"
    )
    return [
        # However this process ends, the guest doesn't outlive it.
        *("setpriv", "--pdeathsig", "KILL", "--"),
        *("qemu-system-x86_64", "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"),
        *("-machine", "q35,sata=off,smbus=off", "-smp", "2", "-m", "2G"),
        *(("-accel", "kvm", "-cpu", "host") if fast else ("-accel", "tcg", "-cpu", "max")),
        *("-serial", "stdio"),
        *("-kernel", str(kernel.image), "-initrd", str(results / "initramfs"), "-append", append),
        *_export("root", Path("/"), "on"),
        *_export("results", results.resolve(), "off"),
    ]


def _export(tag: str, path: Path, readonly: str) -> list[str]:
    quoted = str(path).replace(",", ",,")
    fsdev = f"local,id={tag},path={quoted},security_model=none,readonly={readonly},multidevs=remap"
    return ["-fsdev", fsdev, "-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}"]
