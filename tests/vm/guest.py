"""Boots a kernel in QEMU with this machine's files, read-only, as its root, and runs one script in it."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import IO

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

    copies: folders (the keys) of which the guest sees a copy (the values).
    results: a folder that the guest may write to, as /run/results; console.log and dmesg are left there.
    minutes: the guest is ended when it takes longer.
    """
    results.mkdir(parents=True, exist_ok=True)
    (results / "run").write_text(f"cd {shlex.quote(str(_CHECKOUT))}\n{script}\n")
    started = time.monotonic()
    process = subprocess.Popen(
        _command(kernel, results, copies),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}"},
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
            os.killpg(process.pid, signal.SIGKILL)
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


def _command(kernel: Installed, results: Path, copies: dict[Path, Path]) -> list[str]:
    folders = [*_folders(), *(f"{copy}={folder}" for folder, copy in copies.items())]
    init = shlex.join(["sh", str(_CHECKOUT / "tests/vm/guest.sh"), *folders])
    return [
        *("virtme-run", "--kimg", str(kernel.image), "--mods", "auto", "--force-9p", "--show-boot-console"),
        *("--cpus", "2", "--memory", "2G", *([] if os.environ.get("FYKE_VM_KVM") else ["--disable-kvm"])),
        # Only what is written must be an overlay; each costs every look-up below it.
        *("--overlay-rwdir", "/etc", "--overlay-rwdir", "/lib", "--overlay-rwdir", "/tmp"),
        *("-a", "panic_on_oops=1", "-a", "loglevel=3", "--script-sh", init),
        "--qemu-opts",
        *_export("cached", Path("/"), "on"),
        *_export("results", results.resolve(), "off"),
    ]


def _export(tag: str, path: Path, readonly: str) -> list[str]:
    fsdev = f"local,id={tag},path={path},security_model=none,readonly={readonly},multidevs=remap"
    return ["-fsdev", fsdev, "-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}"]


def _folders() -> list[str]:
    """What the tests read: the checkout (with its virtual environment), Python, programs and libraries."""
    python = Path(sys.base_prefix)
    own = [] if python == Path("/usr") else [python]
    system = [*Path("/usr/lib").glob("python3*"), *Path("/usr/lib").glob("*-linux-gnu")]
    return [str(path) for path in (_CHECKOUT, *own, Path("/usr/bin"), Path("/usr/sbin"), *system)]
