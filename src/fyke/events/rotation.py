"""Split output: the names of its files (`OUT.0`, `OUT.1` ...), the size at which they are cut, stale ones."""

from __future__ import annotations

import os
import re

from fyke.errors import FykeError, UsageError

_SIZE = re.compile(r"([0-9]{1,18})(?:(B)|([KMG])(B|iB)?)", re.IGNORECASE)
_POWERS = {"K": 1, "M": 2, "G": 3}
_NUMBERED = re.compile(r"\.(0|[1-9][0-9]{0,8})$")
LEAST_LIMIT = 32 << 10  # bytes of a split file; its schema and facts take 20 KiB and more
FOLLOW = ".."  # a path that ends like this means: and the files after it


def parse_size(text: str) -> int:
    """Return the bytes that a size such as `10MB`, `64K` or `1GiB` stands for.

    `KB`, `MB` and `GB` are powers of 1000 (as in Retis), `KiB`, `MiB`, `GiB` and the bare letters `K`, `M`,
    `G` powers of 1024; `B` alone is bytes; letters of either case. The whole text must be a size with a unit.
    Raises UsageError for anything else, and for zero.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        if re.fullmatch("[0-9]{1,18}", number := text.strip()):
            raise UsageError(f"'{text}' has no unit", f"write {number}B, {number}K, {number}MB ...")
        raise UsageError(
            f"'{text}' is not a size", "write a whole number and a unit, such as 10MB, 64K or 1GiB"
        )
    number, _, letter, suffix = match.groups()
    base = 1000 if suffix and suffix.upper() == "B" else 1024
    size: int = int(number) * base ** _POWERS.get((letter or "").upper(), 0)
    if not 0 < size < 1 << 63:
        raise UsageError(f"'{text}' is not a usable size", "write something between 1B and 8388607GiB")
    return size


def split_path(path: str, number: int) -> str:
    """Return the name of file NUMBER of a split output."""
    return f"{path}.{number}"


def split_number(path: str) -> int | None:
    """Return the number at the end of a split file's name, None when there is none."""
    match = _NUMBERED.search(path)
    return int(match[1]) if match else None


def next_path(path: str) -> str | None:
    """Return the name of the file that follows a split file, None when its name has no number."""
    number = split_number(path)
    if number is None:
        return None
    return split_path(path.rpartition(".")[0], number + 1)


def numbers(path: str, least: int = 0) -> list[int]:
    """Return the numbers, from `least` on and in order, under which there is something named PATH.NUMBER."""
    folder, base = os.path.split(path)
    found = []
    try:
        names = os.listdir(folder or ".")
    except OSError:
        return []
    for name in names:
        number = split_number(name)
        if number is not None and number >= least and name == split_path(base, number):
            found.append(number)
    return sorted(found)


def size_behind(path: str) -> int:
    """Return how many bytes the files have that follow a file of a split set."""
    size, following = 0, next_path(path)
    while following is not None:
        try:
            size += os.stat(following).st_size
        except OSError:
            break
        following = next_path(following)
    return size


def is_split_file(path: str) -> bool:
    """Say whether a file was written as part of a split output, under the number its name has now."""
    from fyke.events.reader import open_events

    try:
        with open_events(path) as source:
            return source.facts.split_id is not None and source.facts.split_id == split_number(path)
    except FykeError:
        return False


def remove_stale(path: str) -> list[str]:
    """Remove what an earlier split output to the same path left, and return the names, in order.

    Only event files whose own facts bear the number of their name are removed; others are left alone.
    `OUT.0` is left too: it is about to be overwritten. Raises UsageError when a file can't be removed.
    """
    stale = [s for n in numbers(path, 1) if is_split_file(s := split_path(path, n))]
    for name in stale:
        try:
            os.unlink(name)
        except OSError as error:
            raise UsageError(f"can't remove {name} of an earlier run: {error.strerror}") from error
    return stale
