"""What a path stands for: an event file, a split set, or all recordings in a directory or of a pattern."""

from __future__ import annotations

import glob
import os
import stat

from fyke.errors import InputError
from fyke.events.reader import EventSource, default_input, open_events
from fyke.events.rotation import FOLLOW, split_number, split_path

_PATTERN = frozenset("*?[")


def places(path: str | os.PathLike[str] | None) -> tuple[str, ...]:
    """Return what `open_events` is to open for a path, in order. Raises InputError.

    A directory stands for the event files in it, those below it left out; what is no event file in it is
    passed over. A pattern (`*`, `?`, `[...]`) stands for the files that match, where no file has that name.
    Files of one split set are one place, `NAME.0..`.
    """
    if path is None:
        return (default_input(),)
    name = os.fsdecode(path)
    if os.path.isdir(name):
        found = [entry for entry in _files(os.path.join(glob.escape(name), "*")) if _is_recording(entry)]
        if not found:
            raise InputError(f"there is no event file in {name}", "name a file, or a directory of recordings")
        return _joined(found)
    if _PATTERN & set(name) and not os.path.exists(name):
        found = _files(name)
        if not found:
            raise InputError(f"no file matches {name}", "check the pattern; `*` doesn't match a leading dot")
        return _joined(found)
    return (name,)


def read_once(place: str) -> bool:
    """Say whether a place can be read only once: a pipe, a terminal."""
    try:
        return not stat.S_ISREG(os.stat(place.removesuffix(FOLLOW)).st_mode)
    except (OSError, ValueError):
        return False


def _files(pattern: str) -> list[str]:
    return sorted(name for name in glob.glob(pattern) if os.path.isfile(name))


def _is_recording(name: str) -> bool:
    try:
        _opened(name).close()
    except InputError:
        return False
    return True


def _opened(name: str) -> EventSource:
    return open_events(name, ())


def _joined(names: list[str]) -> tuple[str, ...]:
    """Put the files of each split set together, in the place of its first one."""
    result: dict[str, None] = {}
    sets: dict[str, int] = {}
    for name in sorted(names, key=_order):
        number = split_number(name)
        base = name.rpartition(".")[0]
        if number is None:
            result[name] = None
        elif base not in sets:
            sets[base] = number
            result[split_path(base, number) + FOLLOW] = None
    return tuple(result)


def _order(name: str) -> tuple[str, int]:
    number = split_number(name)
    return (name, -1) if number is None else (name.rpartition(".")[0], number)
