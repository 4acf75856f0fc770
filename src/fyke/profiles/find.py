"""Where profiles are: folders in order, each with YAML files; the first that has a name is the one meant."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from fyke.errors import UsageError
from fyke.events.escape import printable
from fyke.profiles.document import MAX_BYTES, documents
from fyke.profiles.model import Profile, read_profile

ENDINGS = (".yaml", ".yml")
SHIPPED = os.path.join(os.path.dirname(__file__), "shipped")
MAX_FILES = 1000  # in one folder


@dataclass(frozen=True, slots=True)
class File:
    """A file in a folder of profiles: what is in it, and what is wrong with the rest of it."""

    path: str
    profiles: tuple[Profile, ...] = ()
    errors: tuple[UsageError, ...] = ()


def read_file(path: str) -> File:
    """Read a file; a wrong document doesn't spoil the others. Raises UsageError when it can't be read."""
    profiles: list[Profile] = []
    errors: list[UsageError] = []
    for document in documents(_content(path), path):
        try:
            profiles.append(read_profile(document))
        except UsageError as error:
            errors.append(error)
    return File(path, tuple(profiles), tuple(errors))


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"can't read the profile {printable(path)}: {reason}") from error


def files_in(folder: str) -> Iterator[File]:
    """Read the YAML files of a folder, by name; nothing for a folder that can't be listed."""
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(ENDINGS))[:MAX_FILES]
    except OSError:
        return
    for name in names:
        path = os.path.join(folder, name)
        try:
            if stat.S_ISREG(os.stat(path).st_mode):
                yield read_file(path)
        except OSError:
            continue
        except UsageError as error:
            yield File(path, errors=(error,))


def is_path(name: str) -> bool:
    """Say whether a profile is named by its file, not by its name."""
    return os.sep in name or name.endswith(ENDINGS)


def find_profile(name: str, folders: Sequence[str]) -> Profile:
    """Return the profile that a name or path means. Raises UsageError, with what is near or wrong."""
    if is_path(name):
        return _only(read_file(name))
    broken: list[UsageError] = []
    known: list[str] = []
    for folder in folders:
        found = []
        for file in files_in(folder):
            found += [profile for profile in file.profiles if profile.name == name]
            known += [profile.name for profile in file.profiles]
            broken += file.errors
        if len(found) > 1:
            places = " and ".join(str(profile.place) for profile in found[:2])
            raise UsageError(
                f"there are two profiles {printable(name)} in one folder: {places}", "rename one"
            )
        if found:
            return found[0]
    raise UsageError(f"there is no profile {printable(name)}", _hint(name, known, broken))


def _only(file: File) -> Profile:
    if file.errors:
        raise file.errors[0]
    if len(file.profiles) != 1:
        several = ", ".join(printable(profile.name) for profile in file.profiles)
        raise UsageError(
            f"{printable(file.path)} has {f'several profiles ({several})' if several else 'no profile'}",
            "name a file that has one; or its folder with -P, and the profile with -p" if several else "",
        )
    return file.profiles[0]


def _hint(name: str, known: list[str], broken: list[UsageError]) -> str:
    if broken:
        return f"a file can't be read: {broken[0].message}"
    if close := get_close_matches(name, known, 1):
        return f"did you mean {printable(close[0])}?"
    return "`fyke profile list` lists them"
