"""Files of several SQL statements, each under a comment `-- name: NAME`."""

from __future__ import annotations

import re
from importlib import resources

_NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


def statements(file: str) -> dict[str, str]:
    """Return the statements of a file beside this one by their names, without the `;` at the end."""
    text = resources.files("fyke.journeys").joinpath(file).read_text(encoding="utf-8")
    _, *parts = _NAME.split(text)
    return {name: sql.strip().rstrip(";") for name, sql in zip(parts[::2], parts[1::2], strict=True)}
