"""What paths stand for: event files, split sets, or all recordings in a directory or of a pattern."""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterable

from fyke.errors import InputError
from fyke.events.reader import default_input, named, open_events
from fyke.events.recognise import recognise
from fyke.events.rotation import FOLLOW, split_number, split_path

Path = str | os.PathLike[str]

_PATTERN = frozenset("*?[")
_HEAD_BYTES = 16  # what `recognise` looks at


def places(path: Path | Iterable[Path] | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what `open_events` is to open for a path or several, in order, and notes on what is left out.

    A directory stands for the event files in it, those below it left out; what is none is passed over, and
    noted where it seems to be a damaged one. A pattern (`*`, `?`, `[...]`) stands for the files that match,
    where no file has that name. Files of one split set are one place, `NAME.0..`. Raises InputError.
    """
    if path is None:
        return (default_input(),), ()
    notes: list[str] = []
    if isinstance(path, str | bytes | os.PathLike):
        return _places(os.fsdecode(path), notes), tuple(notes)
    found = dict.fromkeys(place for one in path for place in _places(os.fsdecode(one), notes))
    if not found:
        raise InputError("the list of files is empty", "name one, or a directory of recordings")
    return tuple(found), tuple(notes)


def _places(name: str, notes: list[str]) -> tuple[str, ...]:
    name = named(name)
    if os.path.isdir(name):
        entries = _files(os.path.join(glob.escape(name), "*"))
        found = [entry for entry in entries if _is_recording(entry, notes)]
        if not found:
            hint = notes[0] if notes else "name a file, or a directory of recordings"
            raise InputError(f"there is no event file in {name}", hint)
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


def _is_recording(name: str, notes: list[str]) -> bool:
    try:
        open_events(name, ()).close()
    except InputError as error:
        if not _is_something_else(name):
            notes.append(f"left out: {error.message}")
        return False
    return True


def _is_something_else(name: str) -> bool:
    try:
        with open(name, "rb") as file:
            recognise(name, file.read(_HEAD_BYTES))
    except InputError:
        return True
    except OSError:
        pass
    return False


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
