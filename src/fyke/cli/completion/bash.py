"""The script for bash(1): a function for `complete -F`, with nothing but bash itself."""

from __future__ import annotations

import shlex

from fyke.cli.completion.lines import Command, Word

_SCRIPT = """\
# Completion of fyke's command lines in bash. Made by `fyke sh-complete --shell bash`.
_fyke_files() {{
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen -f -- "$1")
}}

# Words of a list, several of which may be given with commas between.
_fyke_list() {{
    local before= last=$2
    [[ $2 == *,* ]] && before=${{2%,*}}, last=${{2##*,}}
    mapfile -t COMPREPLY < <(compgen -P "$before" -W "$1" -- "$last")
}}

# Names of profiles, which may be several with commas between, and files.
_fyke_profiles() {{
    local before= last=$1
    [[ $1 == *,* ]] && before=${{1%,*}}, last=${{1##*,}}
    _fyke_files "$1"
    mapfile -t -O ${{#COMPREPLY[@]}} COMPREPLY < <(
        compgen -P "$before" -W "$("${{COMP_WORDS[0]}}" profile list --names 2>/dev/null)" -- "$last"
    )
}}

_fyke() {{
    local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}} command= at=0 i
    # `--option=value` comes as three words.
    if [[ $cur == = ]]; then
        cur=
    elif [[ $prev == = ]]; then
        prev=${{COMP_WORDS[COMP_CWORD-2]}}
    fi
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${{COMP_WORDS[i]}} in
            {valued}) [[ ${{COMP_WORDS[i+1]}} == = ]] && ((i++)); ((i++)) ;;
            -*) ;;
            *) command=${{COMP_WORDS[i]}}; break ;;
        esac
    done
    for ((i++; i < COMP_CWORD; i++)); do
        [[ ${{COMP_WORDS[i]}} == -* ]] || ((at++))
    done
    COMPREPLY=()
    case $command in
        "")
            case $prev in
{general}
            esac
            if [[ $cur == -* ]]; then
                mapfile -t COMPREPLY < <(compgen -W {general_names} -- "$cur")
            else
                mapfile -t COMPREPLY < <(compgen -W {names} -- "$cur")
            fi
            ;;
{commands}
    esac
}}

complete -F _fyke fyke
"""


def script(commands: tuple[Command, ...], general: tuple[Word, ...]) -> str:
    """Return the script."""
    return _SCRIPT.format(
        general=_values(general),
        valued="|".join(name for option in general if option.value for name in option.names),
        general_names=shlex.quote(" ".join(_names(general))),
        names=shlex.quote(" ".join(command.name for command in commands)),
        commands="\n".join(_command(command) for command in commands),
    )


def _command(command: Command) -> str:
    lines = [f"        {'|'.join(command.beginnings)})"]
    values = _values(command.options)
    if values:
        lines += ["            case $prev in", values, "            esac"]
    lines.append("            if [[ $cur == -* ]]; then")
    names = shlex.quote(" ".join(_names(command.options)))
    lines.append(f'                mapfile -t COMPREPLY < <(compgen -W {names} -- "$cur")')
    first = command.places[0].choices if command.places else ()
    if first:
        words = shlex.quote(" ".join(first))
        lines += ["            elif ((at == 0)); then"]
        lines += [f'                mapfile -t COMPREPLY < <(compgen -W {words} -- "$cur")']
    if any(place.profiles for place in command.places):
        lines += ["            else", '                _fyke_profiles "$cur"']
    elif any(place.files for place in command.places):
        lines += ["            else", '                _fyke_files "$cur"']
    return "\n".join([*lines, "            fi", "            ;;"])


def _values(options: tuple[Word, ...]) -> str:
    """Return the cases of `$prev` that are options with a value; options may follow one that needs none."""
    lines = []
    for option in options:
        if not option.value:
            continue
        if option.choices:
            words = shlex.quote(" ".join(option.choices))
            do = f'mapfile -t COMPREPLY < <(compgen -W {words} -- "$cur"); return'
        elif option.several:
            do = f'_fyke_list {shlex.quote(" ".join(option.several))} "$cur"; return'
        elif option.profiles:
            do = '_fyke_profiles "$cur"; return'
        elif option.files:
            do = '_fyke_files "$cur"; return'
        else:
            do = "return"
        if not option.needed:
            do = f"if [[ $cur != -* ]]; then {do}; fi"
        lines.append(f"                {'|'.join(option.names)}) {do} ;;")
    return "\n".join(lines)


def _names(options: tuple[Word, ...]) -> list[str]:
    return [name for option in options for name in option.names]
