"""What ends a collection: signals, the command it was started for, the program it is part of."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
from collections.abc import Mapping
from types import FrameType, TracebackType
from typing import Self

from fyke.errors import RunError

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# How long a command may take to end when it is asked to.
PATIENCE_SECONDS = 2.0


class StopSignals:
    """Takes Ctrl-C, SIGTERM and SIGHUP for the time of a `with` block.

    fd: becomes readable with a signal, so that a wait ends. count: how many came.
    """

    def __init__(self) -> None:
        self.count = 0
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._previous: dict[signal.Signals, object] = {}
        self._previous_wakeup = -1

    @property
    def fd(self) -> int:
        """What to wait on."""
        return self._read

    def __enter__(self) -> Self:
        """Take the signals."""
        self._previous_wakeup = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        for number in _SIGNALS:
            if number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
                continue  # nohup(1)
            self._previous[number] = signal.signal(number, self._note)
        return self

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.count += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give them back."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        signal.set_wakeup_fd(self._previous_wakeup)
        os.close(self._read)
        os.close(self._write)


class StopRequest:
    """What a program ends its collection with; looks like `StopSignals`, and leaves signals alone."""

    def __init__(self) -> None:
        self.count = 0
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    @property
    def fd(self) -> int:
        """What to wait on."""
        return self._read

    def stop(self) -> None:
        """Ask for the end, from any thread, as often as one likes."""
        if not self.count:
            self.count = 1
            os.write(self._write, b"\0")

    def close(self) -> None:
        """Close the pipe."""
        os.close(self._read)
        os.close(self._write)


class Command:
    """A shell command that runs while events are collected; the end of it is the end of the collection.

    environment: its own; without one, this process's.
    """

    def __init__(self, text: str, environment: Mapping[str, str] | None = None) -> None:
        self.text = text
        self._environment = environment
        # Before collecting raises it: some programs mind descriptors above 1023 (select(2)).
        self._descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._process: subprocess.Popen[bytes] | None = None
        self._pidfd = -1
        self._status: int | None = None

    def start(self) -> None:
        """Start `sh -c` with its output thrown away, in a process group of its own. Raises RunError."""
        try:
            self._process = subprocess.Popen(
                ["sh", "-c", f"ulimit -Sn {self._descriptors}\n{self.text}"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                env=self._environment,
            )
        except OSError as e:
            raise RunError(f"can't run the command of --cmd: {e.strerror}") from e
        self._pidfd = os.pidfd_open(self._process.pid)

    @property
    def fd(self) -> int:
        """Becomes readable when the command has ended."""
        return self._pidfd

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        if self._process is None:
            return False
        self._status = self._process.poll()
        return self._status is not None

    @property
    def failure(self) -> str:
        """How it failed, if it ended by itself and did."""
        status = self._status
        if not status:
            return ""
        if status < 0:
            return f"was killed by signal {-status} ({signal.Signals(-status).name})"
        # sh(1): 126 and 127 are the shell's own
        why = {126: " (it can't be run)", 127: " (no such command)"}.get(status, "")
        return f"ended with status {status}{why}"

    def stop(self) -> None:
        """End what still runs of it."""
        if self._process is None:
            return
        if not self.ended:
            os.killpg(self._process.pid, signal.SIGTERM)
            try:
                self._process.wait(PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
        os.close(self._pidfd)
        self._process = None
