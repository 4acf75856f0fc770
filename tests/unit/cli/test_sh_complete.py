"""`fyke sh-complete`: its scripts in the shells themselves, those that are here."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fyke.cli.completion.lines import Command, Word, commands, general_options
from fyke.cli.completion.values import LISTS
from fyke.cli.main import COMMANDS, main, parser_of, resolve
from fyke.errors import UsageError

BASH = shutil.which("bash") or pytest.skip("bash is missing", allow_module_level=True)
ZSH, FISH = shutil.which("zsh"), shutil.which("fish")

# Names of profiles come from `fyke profile list --names`.
NAMES = "echo dropmon; echo latency"

# Line up to the cursor -> what is offered. Files: a.arrow, "b c.json", d/.
LINES: list[tuple[str, set[str]]] = [
    ("fyke ", set(COMMANDS)),
    ("fyke pri", {"print"}),
    ("fyke pr", {"print", "profile"}),
    ("fyke s", {name for name in COMMANDS if name.startswith("s")}),
    ("fyke --log", {"--log-level"}),
    ("fyke --log-level d", {"debug"}),
    ("fyke --log-level debug pri", {"print"}),
    ("fyke --log-level debug print --col", {"--color"}),
    ("fyke print --color ", {"auto", "always", "never"}),
    ("fyke print --color a", {"auto", "always"}),
    ("fyke print --format si", {"single-line"}),
    ("fyke print ", {"a.arrow", "b c.json", "d"}),
    ("fyke print a", {"a.arrow"}),
    ("fyke print --utc a", {"a.arrow"}),
    ("fyke pri --color n", {"never"}),
    ("fyke print -F a", {"a.arrow"}),
    ("fyke sort -o ", {"a.arrow", "b c.json", "d"}),
    ("fyke sort --out-f", {"--out-format"}),
    ("fyke collect -o --skb", {"--skb-sections"}),
    ("fyke collect --filter-m", {"--filter-meta"}),
    ("fyke collect --pid ", set()),
    ("fyke collect -c skb-", {"skb-drop", "skb-tracking"}),
    ("fyke collect -c skb,n", {"skb,nft", "skb,ns"}),
    ("fyke collect --nft-verdicts re", {"return", "repeat"}),
    ("fyke stats --parts drops,sum", {"drops,summary"}),
    ("fyke collect nothing", set()),
    ("fyke python -i a", {"a.arrow"}),
    ("fyke sh-complete --shell ", {"bash", "zsh", "fish"}),
    ("fyke latency a", {"a.arrow"}),
    ("fyke diff ", {"a.arrow", "b c.json", "d"}),
    ("fyke diff a.arrow a", {"a.arrow"}),
    ("fyke diff --left tcp a", {"a.arrow"}),
    ("fyke convert --to p", {"parquet", "pcapng", "perfetto"}),
    ("fyke convert a.arrow a.arrow a.arrow a", {"a.arrow"}),
    ("fyke query ", {"a.arrow", "b c.json", "d"}),
    ("fyke query DROPS a", {"a.arrow"}),
    ("fyke sh-complete --s", {"--shell"}),
    ("fyke profile ", {"list", "show", "check", "save"}),
    ("fyke profile --json sh", {"show"}),
    ("fyke profile show drop", {"dropmon"}),
    ("fyke -p drop", {"dropmon"}),
    ("fyke -p dropmon,l", {"dropmon,latency"}),
    ("fyke -p dropmon -P d coll", {"collect"}),
    ("fyke -P d", {"d"}),
    ("fyke nosuch ", set()),
]


def made(shell: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["sh-complete", "--shell", shell]) == 0
    return capsys.readouterr().out


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("a.arrow", "b c.json"):
        (tmp_path / name).touch()
    (tmp_path / "d").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ask_bash(script: str, lines: list[str]) -> list[set[str]]:
    """Complete lines in one bash, words split as readline does it."""
    parts = [script, f"fyke() {{ {NAMES}; }}"]
    for line in lines:
        words = [
            w for word in line.split(" ") for w in word.replace("=", "\0=\0").split("\0") if w or not word
        ]
        quoted = " ".join("'" + word + "'" for word in words)
        parts += [
            f"COMP_WORDS=({quoted}) COMP_CWORD={len(words) - 1}",
            "_fyke fyke",
            "printf '%s\\n' \"${COMPREPLY[@]}\" --",
        ]
    done = subprocess.run(
        [BASH, "--norc"], input="\n".join(parts), capture_output=True, text=True, timeout=60
    )
    assert done.stderr == ""
    answers = done.stdout.split("--\n")  # an option never ends a line with --
    return [set(filter(None, answer.split("\n"))) for answer in answers[:-1]]


def test_bash(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = ask_bash(made("bash", capsys), [line for line, _ in LINES])
    assert dict(zip([line for line, _ in LINES], found, strict=True)) == dict(LINES)


def test_bash_takes_an_equals_sign(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [
        "fyke print --color=",
        "fyke print --color=al",
        "fyke --log-level=debug pri",
        "fyke sort --out=a",
    ]
    found = ask_bash(made("bash", capsys), lines)
    assert found == [{"auto", "always", "never"}, {"always"}, {"print"}, {"a.arrow"}]


def test_every_option_of_every_command_is_offered(capsys: pytest.CaptureFixture[str]) -> None:
    every = commands()
    found = ask_bash(made("bash", capsys), [f"fyke {command.name} -" for command in every])
    for command, names in zip(every, found, strict=True):
        assert names == {name for option in command.options for name in option.names}
        for name in names - {"-h", "--help"}:
            with pytest.raises(UsageError) as caught:
                _parsed(command.name, name)
            assert not str(caught.value).endswith(f"has no option {name}")


def test_words_of_lists_are_taken_by_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    for (command, option), words in LISTS.items():
        assert parser_of(command).parse_args([option, ",".join(words())])
        assert all(word in " ".join(help_of(command, capsys).split()) for word in words())


def help_of(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main([command, "--help"]) == 0
    return capsys.readouterr().out


def test_what_is_no_option_is_a_file() -> None:
    others = [c.name for c in commands() for place in c.places if not (place.files or place.choices)]
    assert others == ["query"]  # SQL, or a file without it


def _parsed(command: str, option: str) -> None:
    from fyke.cli.main import parser_of

    parser_of(command).parse_args([option, "--nosuch-option-of-any"])
    raise AssertionError


def test_beginnings_are_those_that_name_the_command() -> None:
    for command in commands():
        for beginning in command.beginnings:
            assert resolve(beginning) == command.name
        shorter = command.beginnings[-1][:-1]
        if shorter:
            with pytest.raises(UsageError):
                resolve(shorter)


def at_terminal(shell: list[str], setup: str, line: str, wanted: str, **environment: str) -> str:
    """Type a line and a tab into a shell on a terminal; return what it shows, up to what is wanted."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        shell,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        env={"PATH": os.environ["PATH"], "TERM": "dumb", "PS1": "> ", "HOME": os.getcwd(), **environment},
    )
    os.close(slave)
    shown = ""

    def wait_for(text: str) -> None:
        nonlocal shown
        end = time.monotonic() + 20
        while text not in shown:
            left = end - time.monotonic()
            assert left > 0, shown
            if select.select([master], [], [], left)[0]:
                shown += os.read(master, 4096).decode()

    try:
        os.write(master, f"{setup}; echo rea''dy\n".encode())
        wait_for("ready\r\n")
        shown = ""
        os.write(master, f"{line}\t".encode())
        wait_for(wanted)
    finally:
        process.kill()
        process.wait()
        os.close(master)
    return shown


def test_bash_at_a_terminal(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "script").write_text(made("bash", capsys))
    shell = [BASH, "--norc", "-i"]
    at_terminal(shell, "source ./script", "fyke pri", "fyke print ")
    at_terminal(shell, "source ./script", "fyke print --color al", "--color always ")
    at_terminal(
        shell, "source ./script", "fyke print b", "print b\\ c.json "
    )  # quoted, as bash does for files


@pytest.mark.skipif(FISH is None, reason="fish is not installed")
def test_fish(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "script").write_text(made("fish", capsys))
    asked = "\n".join(f"complete -C '{line}'; echo END" for line, _ in LINES)
    done = subprocess.run(
        [str(FISH), "--no-config", "-c", f"source ./script\nfunction fyke; {NAMES}; end\n{asked}"],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "HOME": str(folder)},
    )
    assert done.stderr == ""
    answers = [answer.split("\n") for answer in done.stdout.split("END\n")[:-1]]
    found = [{line.partition("\t")[0].rstrip("/") for line in answer} - {"", "script"} for answer in answers]
    for (line, wanted), got in zip(LINES, found, strict=True):
        assert {word.replace("\\ ", " ") for word in got} >= wanted, line
        if "print" in line or not wanted:
            assert {word.replace("\\ ", " ") for word in got} == wanted, line


@pytest.mark.skipif(ZSH is None, reason="zsh is not installed")
def test_zsh(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "script").write_text(made("zsh", capsys))
    setup = (
        os.environ.get("TEST_ZSH_SETUP", "true")
        + f"; fyke() {{ {NAMES}; }}"
        + "; autoload -Uz compinit; compinit -u -d ./dump; source ./script"
    )
    shell = [str(ZSH), "-f", "-i"]
    for line, wanted in (
        ("fyke pri", "fyke print "),
        ("fyke print --color al", "--color always "),
        ("fyke --log-level deb", "--log-level debug "),
        ("fyke print a", "print a.arrow "),
        ("fyke diff a.arrow a", "a.arrow a.arrow "),
        ("fyke convert a.arrow a.arrow a.arrow a", "a.arrow a.arrow a.arrow a.arrow "),
        ("fyke sh-complete --shell z", "--shell zsh "),
        ("fyke profile sh", "profile show "),
        ("fyke profile show drop", "show dropmon "),
        ("fyke -p dropmon,la", "-p dropmon,latency"),
        ("fyke -p drop", "-p dropmon"),
        ("fyke collect --filter-m", "--filter-meta"),
        ("fyke collect -c skb,nf", "-c skb,nft"),
        ("fyke stats --parts fl", "--parts flows"),
    ):
        at_terminal(shell, setup, line, wanted)


@pytest.mark.parametrize(("shell", "name"), [("bash", "fyke"), ("zsh", "_fyke"), ("fish", "fyke.fish")])
def test_the_script_goes_to_a_file(
    shell: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = made(shell, capsys)
    for path in (tmp_path, tmp_path / "script"):
        assert main(["sh-complete", "--shell", shell, "--register", str(path)]) == 0
    assert (tmp_path / name).read_text() == (tmp_path / "script").read_text() == script
    assert main(["sh-complete", "--shell", shell, "--register", "-"]) == 0
    assert capsys.readouterr().out == script


def test_wrong_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (
        [],
        ["--shell"],
        ["--shell", "tcsh"],
        ["--shell", "bash", "--register", f"{tmp_path}/no/where"],
    ):
        assert main(["sh-complete", *arguments]) == 2
        assert capsys.readouterr().err.startswith("error: ")


def test_no_help_text_breaks_a_script(capsys: pytest.CaptureFixture[str]) -> None:
    """Text that shells take for something else is quoted, whatever an option's help says."""
    evil = "it's [a] \\ \"$(touch pwned)\" `touch pwned` : %s; rm \\'"
    option = Word(("-x", "--evil"), evil, value=True, choices=("a", "b"))
    some = (Command("evil", evil, ("evil",), (option,), ()),)
    checks: list[tuple[str, list[str] | None]] = [
        ("bash", [BASH, "-n"]),
        ("zsh", None if ZSH is None else [ZSH, "-n"]),
        ("fish", None if FISH is None else [FISH, "--no-execute"]),
    ]
    for name, check in checks:
        script: Callable[..., str] = __import__(f"fyke.cli.completion.{name}", fromlist=["script"]).script
        text = script(some, general_options())
        if check is not None:
            subprocess.run(check, input=text, text=True, check=True, timeout=60)
