"""Options from profiles and from a command line, put together by the command's own parser.

Layers are dicts of what was given: destination -> value. Later layers win; lists grow.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from typing import Any, NoReturn

from fyke.errors import UsageError
from fyke.events.escape import printable
from fyke.profiles.model import Argument, Variant

Given = dict[str, Any]
MakeParser = Callable[[], argparse.ArgumentParser]


class Command:
    """A command's options, as argparse knows them. make: returns a new parser."""

    def __init__(self, make: MakeParser) -> None:
        self._make = make
        self._parser = make()
        for action in self._parser._actions:
            action.default = argparse.SUPPRESS
        self._actions = {action.dest: action for action in self._parser._actions}

    def given(self, words: Sequence[str]) -> Given:
        """Return what words of a command line give, nothing for what they leave out. Raises UsageError."""
        return vars(self._parser.parse_args(list(words)))

    def of_variant(self, variant: Variant) -> Given:
        """Return what a variant gives. Raises UsageError, which names file, line and key."""
        given: Given = {}
        for argument in variant.args:
            try:
                given |= self._of_argument(argument)
            except UsageError as error:
                message = error.message.removeprefix(f"{_option(argument.key)}: ")
                raise UsageError(
                    f"{argument.place}: {printable(argument.key)}: {message}", error.hint
                ) from error
        return given

    def _of_argument(self, argument: Argument) -> Given:
        option, value = _option(argument.key), argument.value
        action = self._parser._option_string_actions.get(option)
        if action is None or isinstance(action, argparse._HelpAction):
            self._unknown(option)
        if action.nargs == 0:
            return {action.dest: _switched(value)}
        if isinstance(value, tuple) and not is_list(action):
            raise UsageError("it takes one value, not a list")
        words: list[str] = []
        for text in (None,) if value is None else (value,) if isinstance(value, str) else value:
            words.append(option if text is None else _joined(option, text))
        return vars(self._parser.parse_args(words))

    def _unknown(self, option: str) -> NoReturn:
        """Refuse an option as the parser does, with what is near."""
        try:
            self._parser.error(f"unrecognized arguments: {option}")
        except UsageError as error:
            names = [name[2:] for name in self._parser._option_string_actions if name.startswith("--")]
            close = get_close_matches(option[2:], names, 1)
            if close and error.message.endswith(option):
                raise UsageError(error.message, f"did you mean {close[0]}?") from error
            raise

    def merged(self, layers: Iterable[Given]) -> Given:
        """Return what layers give together: of single values the last, of lists all; the same twice is once.

        An option that stands for the same as another (`one_of`, as a filter and the file of a filter) takes
        its place.
        """
        result: Given = {}
        for layer in layers:
            for dest in layer:
                for rival in self._rivals(dest):
                    result.pop(rival, None)
            for dest, value in layer.items():
                if is_list(self._actions[dest]):
                    before = result.get(dest, [])
                    result[dest] = [*before, *(one for one in value if one not in before)]
                else:
                    result[dest] = value
        return result

    def effective(self, profiles: Iterable[Given], line: Given) -> Given:
        """Return what of the profiles still counts beside a command line."""
        beaten = {d for dest in line if not is_list(self._actions[dest]) for d in (dest, *self._rivals(dest))}
        return {dest: value for dest, value in self.merged(profiles).items() if dest not in beaten}

    def _rivals(self, dest: str) -> list[str]:
        group = getattr(self._actions[dest], "one_of", None)
        if group is None:
            return []
        return [d for d, a in self._actions.items() if d != dest and getattr(a, "one_of", None) == group]

    def namespace(self, given: Given) -> argparse.Namespace:
        """Return all arguments, defaults where nothing was given."""
        return argparse.Namespace(**vars(self._make().parse_args([])) | given)

    def values(self, given: Given) -> dict[str, str | list[str] | None]:
        """Return option (without dashes) -> value as profiles have it; what isn't an option is left out."""
        return {
            _long(action).lstrip("-"): _written(action, given[dest])
            for dest, action in self._actions.items()
            if dest in given and action.option_strings and given[dest] is not False
        }

    def words(self, given: Given) -> list[str]:
        """Return the options as words of a command line."""
        words: list[str] = []
        for key, value in self.values(given).items():
            option = _option(key)
            if isinstance(value, list):
                words += [word for one in value for word in _apart(option, one)]
            else:
                words += [option] if value is None else _apart(option, value)
        return words

    def not_options(self, given: Given) -> list[str]:
        """Return the arguments that belong to no option: profiles have no place for them."""
        return [dest for dest in given if not self._actions[dest].option_strings and given[dest]]


def is_list(action: argparse.Action) -> bool:
    """Say whether an option may be given several times."""
    return isinstance(action, argparse._AppendAction)


def _option(key: str) -> str:
    """Return the option that a key means: `filter_packet` is --filter-packet, `e` is -e."""
    return f"-{key}" if len(key) == 1 else f"--{key.replace('_', '-')}"


def _long(action: argparse.Action) -> str:
    names = action.option_strings
    return next((name for name in names if name.startswith("--")), names[0] if names else "")


def _joined(option: str, text: str) -> str:
    """Return an option and its value as one word: a value may begin with a dash."""
    return f"{option}={text}" if option.startswith("--") else f"{option}{text}"


def _apart(option: str, text: str) -> list[str]:
    return [_joined(option, text)] if text.startswith("-") or not text else [option, text]


def _switched(value: str | tuple[str, ...] | None) -> bool:
    """Return whether an option without a value is on: `~` or true, or false."""
    if value is None:
        return True
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise UsageError("it takes no value", "write ~ to set it")


def _written(action: argparse.Action, value: Any) -> str | list[str] | None:
    if is_list(action):
        return [str(one) for one in value]
    if action.nargs == 0 or (action.nargs == "?" and value == action.const):
        return None
    return str(value)
