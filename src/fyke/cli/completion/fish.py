"""The script for fish(1): lines of its command `complete`."""

from __future__ import annotations

from fyke.cli.completion.lines import Command, Word

_PROFILES = "'(__fish_complete_list , \"fyke profile list --names 2>/dev/null\")'"
_HEAD = """\
# Completion of fyke's command lines in fish. Made by `fyke sh-complete --shell fish`.
function __fyke_command
    set -l words (commandline -opc)
    set -e words[1]
    while set -q words[1]
        switch $words[1]
            case {valued}
                set -e words[1]
            case '-*'
            case '*'
                echo $words[1]
                return 0
        end
        set -e words[1]
    end
    return 1
end

function __fyke_is
    set -l command (__fyke_command)
    or return 1
    contains -- $command $argv
end

complete -c fyke -f
"""


def script(commands: tuple[Command, ...], general: tuple[Word, ...]) -> str:
    """Return the script."""
    valued = " ".join(name for option in general if option.value for name in option.names)
    lines = [_HEAD.format(valued=valued)]
    before = "-n 'not __fyke_command >/dev/null'"
    lines += [f"complete -c fyke {before} {_option(option)}" for option in general]
    lines += [f"complete -c fyke {before} -a {_quoted(c.name)} -d {_quoted(c.about)}" for c in commands]
    for command in commands:
        here = f"-n '__fyke_is {' '.join(command.beginnings)}'"
        lines += [f"complete -c fyke {here} {_option(option)}" for option in command.options]
        for place in command.places:
            if place.choices:
                lines.append(f"complete -c fyke {here} -a {_quoted(' '.join(place.choices))}")
            if place.profiles:
                lines.append(f"complete -c fyke {here} -a {_PROFILES}")
        if any(place.files for place in command.places):
            lines.append(f"complete -c fyke {here} -F")
    return "\n".join([*lines, ""])


def _option(option: Word) -> str:
    words = []
    for name in option.names:
        words += ["-l", name[2:]] if name.startswith("--") else ["-s", name[1:]]
    if option.value and option.needed:
        words.append("-r")
    if option.value:
        words.append("-F" if option.files else "-f")
    if option.choices:
        words += ["-a", _quoted(" ".join(option.choices))]
    if option.several:
        words += ["-a", _quoted(f"(__fish_complete_list , 'printf %s\\\\n {' '.join(option.several)}')")]
    if option.profiles:
        words += ["-a", _PROFILES]
    return " ".join([*words, "-d", _quoted(option.about)])


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
