"""The errors a user can meet.

FykeError                 broad to catch; carries a hint and an exit code
├── UsageError            a wrong option, probe, collector or argument          (exit 2)
├── InputError            a file that can't be read, or not to its end          (exit 2)
├── Unsupported           this kernel or machine lacks something that was asked for (exit 2)
└── RunError              the run itself failed: attach, ring, disk             (exit 1)

They are raised where the fact is known and printed once, in `fyke.cli.main`, as
`error: one sentence` and `hint: what to do`.
"""

from __future__ import annotations


class FykeError(Exception):
    """One clear sentence for the user, and a hint: the one thing to do about it."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(FykeError):
    """A wrong option, probe, collector or argument."""

    exit_code = 2


class InputError(FykeError):
    """An event file that can't be read, or can't be read to its end."""

    exit_code = 2


class Unsupported(FykeError):
    """This kernel or machine lacks something that was asked for by name."""

    exit_code = 2


class RunError(FykeError):
    """The collection itself failed."""
