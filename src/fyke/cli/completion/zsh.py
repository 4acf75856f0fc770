"""The script for zsh(1): `_arguments` of its completion system, see zshcompsys(1)."""

from __future__ import annotations

from fyke.cli.completion.lines import Command, Word

_SCRIPT = """\
#compdef fyke
# Completion of fyke's command lines in zsh. Made by `fyke sh-complete --shell zsh`.
# It is the file _fyke in a folder of $fpath, or read by `source` after compinit.
_fyke_profiles() {{
    local -a names=(${{(f)"$(_call_program profiles fyke profile list --names 2>/dev/null)"}})
    _alternative 'profiles:profile:_sequence compadd -a names' 'files:file:_files'
}}

_fyke() {{
    local curcontext="$curcontext" state line
    typeset -A opt_args
    local -a commands=(
{names}
    )
    _arguments -C \\
{general}
        '1:command:->command' \\
        '*::argument:->arguments'
    case $state in
        command) _describe -t commands 'command of fyke' commands ;;
        arguments)
            case $words[1] in
{commands}
            esac
            ;;
    esac
}}

if [[ $funcstack[1] == _fyke ]]; then
    _fyke "$@"
else
    compdef _fyke fyke
fi
"""


def script(commands: tuple[Command, ...], general: tuple[Word, ...]) -> str:
    """Return the script."""
    return _SCRIPT.format(
        names="\n".join(f"        {_quoted(f'{c.name}:{c.about}')}" for c in commands),
        general="\n".join(f"        {spec} \\" for option in general for spec in _option(option)),
        commands="\n".join(_command(command) for command in commands),
    )


def _command(command: Command) -> str:
    specs = [spec for option in command.options for spec in _option(option)]
    first = command.places[0] if command.places else None
    if first is not None and first.choices:
        specs.append(f"'1:what:({' '.join(first.choices)})'")
    if any(place.profiles for place in command.places):
        specs.append("'*:profile:_fyke_profiles'")
    elif any(place.files for place in command.places):
        specs.append("'*:file:_files'")
    return "\n".join(
        (
            f"                {'|'.join(command.beginnings)})",
            " \\\n".join(
                ("                    _arguments", *(f"                        {spec}" for spec in specs))
            ),
            "                    ;;",
        )
    )


def _option(option: Word) -> list[str]:
    """Return a specification for each name; any of them may come again."""
    about = _escaped(option.about)
    return [_quoted(f"*{name}{_equals(name, option)}[{about}]{_value(option)}") for name in option.names]


def _equals(name: str, option: Word) -> str:
    return "=" if option.value and name.startswith("--") else ""


def _value(option: Word) -> str:
    if not option.value:
        return ""
    if option.choices:
        kind = f"({' '.join(option.choices)})"
    elif option.several:
        kind = f"_sequence compadd - {' '.join(option.several)}"
    else:
        kind = "_fyke_profiles" if option.profiles else "_files" if option.files else " "
    return f"{':' if option.needed else '::'}value:{kind}"


def _escaped(text: str) -> str:
    for sign in "\\[]:":
        text = text.replace(sign, f"\\{sign}")
    return text


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
