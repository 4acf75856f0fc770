"""Parts of an event in its JSON form, as objects with Retis' names: what sections are made of."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from fyke.api.retis_names import NESTED

Json = dict[str, Any]


class RetisFields:
    """A part of an event: fields are attributes, None where the event has no such field."""

    __slots__ = ("_fields", "_names", "_text")

    def __init__(self, fields: Json, names: str, text: Callable[[], str | None] | None = None) -> None:
        self._fields = fields
        self._names = names  # where NESTED describes them
        self._text = text  # made when it is asked for: few scripts do

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        known = NESTED.get(self._names, {})
        if name not in known and name not in self._fields:
            raise AttributeError(f"{self._names} has no field {name}")
        value = self._fields.get(name)
        return wrapped(value, known.get(name) or f"{self._names}.{name}")

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *NESTED.get(self._names, {}), *self._fields})

    def to_dict(self) -> Json:
        """Return the fields as they are in the JSON form."""
        return self._fields

    def __repr__(self) -> str:
        return repr(self._fields)

    def __str__(self) -> str:
        text = None if self._text is None else self._text()
        return repr(self) if text is None else text


class RetisList(list[Any]):
    """A list of values, such as the frames of a stack trace."""

    __slots__ = ()

    def to_dict(self) -> list[Any]:
        """Return it as a plain list."""
        return list(self)


def wrapped(value: Any, names: str) -> Any:
    """Return a value of the JSON form as scripts have it. names: where NESTED describes what is in it."""
    if isinstance(value, dict):
        return class_of(names)(value, names)
    return _list_class(names)(value) if isinstance(value, list) else value


def class_of(names: str) -> type[RetisFields]:
    """Return the class of a section or of a part of one."""
    return _classes()[0].get(names, RetisFields)


def _list_class(names: str) -> type[RetisList]:
    return _classes()[1].get(names, RetisList)


@cache
def _classes() -> tuple[dict[str, type[RetisFields]], dict[str, type[RetisList]]]:
    from fyke.api.retis_sections import CLASSES, LISTS  # made of the classes here

    return CLASSES, LISTS
