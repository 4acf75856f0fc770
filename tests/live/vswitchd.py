"""An Open vSwitch of our own: its database and its daemon, in a folder, ended with the test.

Built with USDT probes by tests/vm/openvswitch.py.
"""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from live.waiting import eventually

__all__ = ["Vswitchd", "programs", "without_probes"]

_TRIES = 5


def programs() -> Path | None:
    """Return the folder of what was built, if it was."""
    folder = Path(__file__).resolve().parents[2] / "build" / "openvswitch"
    return folder.resolve() if folder.is_dir() else None


def without_probes(programs: Path, folder: Path) -> Path:
    """Return a folder of the same programs, made in `folder`, whose daemon has no USDT probes."""
    made = folder / "without"
    for program in programs.glob("*/*"):
        link = made / program.relative_to(programs)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(program)
    daemon = made / "vswitchd" / "ovs-vswitchd"
    daemon.unlink()
    built = programs / "vswitchd" / "ovs-vswitchd"
    subprocess.run(["objcopy", "--remove-section", ".note.stapsdt", str(built), str(daemon)], check=True)
    return made


class Vswitchd:
    """A context manager. programs: the folder of what was built. dummy: nothing of the kernel is used."""

    def __init__(self, programs: Path, folder: Path, *, dummy: bool = False) -> None:
        self.programs = programs
        self.folder = folder
        self.rundir = folder / "run"
        self._dummy = dummy
        self._processes: list[subprocess.Popen[bytes]] = []
        self.environment = {
            **os.environ,
            "OVS_RUNDIR": str(self.rundir),
            **dict.fromkeys(("OVS_DBDIR", "OVS_LOGDIR", "OVS_SYSCONFDIR"), str(folder)),
        }

    @property
    def pid(self) -> int:
        """The daemon's process."""
        return self._processes[1].pid

    @property
    def control(self) -> Path:
        """Its control socket."""
        return self.rundir / f"ovs-vswitchd.{self.pid}.ctl"

    def vsctl(self, *arguments: str) -> str:
        """Change the configuration, and wait until it is done."""
        return self._run("utilities/ovs-vsctl", f"--db=unix:{self._database}", "--timeout=60", *arguments)

    def appctl(self, *arguments: str) -> str:
        """Give the daemon a command."""
        return self._run("utilities/ovs-appctl", "-t", str(self.control), *arguments)

    def ofctl(self, *arguments: str) -> str:
        """Speak OpenFlow to a bridge."""
        return self._run("utilities/ovs-ofctl", *arguments)

    def dpctl(self, *arguments: str) -> str:
        """Ask the kernel's datapath."""
        return self._run("utilities/ovs-dpctl", *arguments)

    def __enter__(self) -> Self:
        self.rundir.mkdir(parents=True)
        file = self.folder / "conf.db"
        self._run("ovsdb/ovsdb-tool", "create", str(file), str(self.programs / "vswitchd/vswitch.ovsschema"))
        try:
            self._start("ovsdb/ovsdb-server", str(file), f"--remote=punix:{self._database}")
            eventually(self._database.is_socket)
            self.vsctl("--no-wait", "init")
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def start(self) -> None:
        """Start the daemon, or start it again after `stop`; its bridges are there when this returns."""
        dummy = ("--enable-dummy=override", "--disable-system") if self._dummy else ()
        self._start("vswitchd/ovs-vswitchd", f"unix:{self._database}", *dummy)
        eventually(self.control.is_socket)
        # Something must change, or nobody is waited for.
        self.vsctl("set", "Open_vSwitch", ".", f"external_ids:daemon={self.pid}")

    def stop(self) -> None:
        """End the daemon, not its database."""
        self._end(self._processes.pop())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._processes:
            self._end(self._processes.pop())

    @property
    def _database(self) -> Path:
        return self.rundir / "db.sock"

    def _start(self, program: str, *arguments: str) -> None:
        name = Path(program).name
        command = [str(self.programs / program), *arguments, f"--log-file={self.folder}/{name}.log"]
        self._processes.append(
            subprocess.Popen(
                [*command, "-vconsole:off"],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )

    @staticmethod
    def _end(process: subprocess.Popen[bytes]) -> None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _run(self, program: str, *arguments: str) -> str:
        for _ in range(_TRIES):
            done = subprocess.run(
                [str(self.programs / program), *arguments],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=90,
            )
            if not done.returncode:
                return done.stdout
            if "failed to connect to socket (Broken pipe)" not in done.stderr:
                break  # else a bridge that sets itself up closed its connections, before it read anything
        raise RuntimeError(f"{program} {' '.join(arguments)}: {done.stderr.strip()}")
