"""How far the reading of files is, for whoever shows it: one watcher, of the whole process."""

from __future__ import annotations

from typing import Protocol


class Reading(Protocol):
    """A file, or a split set, that is being read."""

    path: str

    def position(self) -> tuple[int, int] | None:
        """Return how many bytes were read, and of how many; None where that can't be told. Thread-safe."""


class Watcher(Protocol):
    """Is told about reading, by any thread."""

    def begin(self, reading: Reading) -> None:
        """Take notice of one more that is read."""

    def end(self, reading: Reading) -> None:
        """Forget one."""

    def hush(self) -> None:
        """Show nothing on the terminal, until `allow` was called as often: text comes there."""

    def allow(self) -> None:
        """See `hush`."""


class Nobody:
    """The watcher when nobody watches."""

    def begin(self, reading: Reading) -> None:
        """Do nothing."""

    def end(self, reading: Reading) -> None:
        """Do nothing."""

    def hush(self) -> None:
        """Do nothing."""

    def allow(self) -> None:
        """Do nothing."""


watcher: Watcher = Nobody()
