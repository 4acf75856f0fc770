"""Writing a profile."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Mapping

import yaml

from fyke.errors import RunError, UsageError
from fyke.events.escape import printable
from fyke.profiles.model import VERSION

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,63}")


def is_plain(name: str) -> bool:
    """Say whether a name can be that of a file, and a word of a shell without quotes."""
    return _NAME.fullmatch(name) is not None


def check_name(name: str) -> None:
    """Raise UsageError for what can't be the name of a profile and of its file."""
    if not is_plain(name) or name.endswith((".yaml", ".yml")):
        raise UsageError(
            f"{name[:80]!r} can't be the name of a profile",
            "letters, digits, `-`, `_`, `.` and `+`; up to 64, without .yaml",
        )


def profile_text(name: str, about: str, command: str, options: Mapping[str, str | list[str] | None]) -> str:
    """Return the YAML of a profile with one variant of a command. options: those of `Command.values`."""
    content = {
        "version": ".".join(map(str, VERSION)),
        "name": name,
        "about": about,
        command: [{"args": dict(options)}],
    }
    text: str = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)
    return text


def path_of(folder: str, name: str) -> str:
    """Return the file in which a profile is saved."""
    return os.path.join(folder, f"{name}.yaml")


def save(folder: str, name: str, text: str, *, replace: bool) -> str:
    """Write a profile into a folder, which is made if need be; return the file's path.

    The file is whole or not there. Raises UsageError when it is there already and not to be replaced,
    RunError when it can't be written.
    """
    path = path_of(folder, name)
    try:
        os.makedirs(folder, exist_ok=True)
        handle, draft = tempfile.mkstemp(dir=folder, prefix=f".{name}.")
        try:
            with open(handle, "w", encoding="utf-8") as file:
                os.fchmod(handle, 0o644)
                file.write(text)
            (os.replace if replace else os.link)(draft, path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(draft)
    except FileExistsError as error:
        raise UsageError(f"there is a file {printable(path)} already", "replace it with --force") from error
    except OSError as error:
        raise RunError(f"can't write {printable(path)}: {error.strerror}") from error
    return path
