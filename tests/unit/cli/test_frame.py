"""Finding the command, options in front of it, and what every mistake looks like."""

from __future__ import annotations

import argparse
import logging
import subprocess
import sys
import types
from typing import Any

import pytest
from cli_samples import environment, fyke

from fyke.cli import main as frame
from fyke.cli.main import COMMANDS, main, resolve
from fyke.errors import RunError, UsageError


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A command `toy` whose `run` the test may replace."""
    module: Any = types.ModuleType("fyke.cli.toy")
    module.SUMMARY = "A toy"
    module.add_arguments = lambda parser: parser.add_argument("--size", type=int)
    module.run = lambda args: 0
    monkeypatch.setitem(sys.modules, "fyke.cli.toy", module)
    monkeypatch.setattr(frame, "COMMANDS", ("toy",))
    return module  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_have_the_contract(name: str) -> None:
    module = frame.import_module(frame.module_of(name))
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    assert module.SUMMARY
    assert callable(module.run)


@pytest.mark.parametrize(
    ("word", "command"),
    [
        ("pri", "print"),
        ("prof", "profile"),
        ("so", "sort"),
        ("sort", "sort"),
        ("col", "collect"),
        ("sh", "sh-complete"),
    ],
)
def test_a_unique_beginning_names_a_command(word: str, command: str) -> None:
    assert resolve(word) == command


def test_the_whole_name_wins_over_a_longer_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame, "COMMANDS", ("p", "print", "profile"))
    assert resolve("p") == "p"
    with pytest.raises(UsageError, match="'pr' could be print or profile"):
        resolve("pr")


@pytest.mark.parametrize(
    ("word", "hint"), [("prnit", "did you mean print?"), ("zz", "commands: "), ("", "c")]
)
def test_unknown_commands(word: str, hint: str) -> None:
    with pytest.raises(UsageError, match="there is no command") as caught:
        resolve(word)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["bogus"], "error: there is no command 'bogus'\nhint: "),
        (["--log-level", "loud", "print"], "error: argument --log-level: invalid choice: 'loud'"),
        (["--bogus"], "error: "),
        (["--log-level", "debug"], "error: no command given\nhint: commands: collect, "),
        (["print", "--bogus"], "error: fyke print has no option --bogus\nhint: see: fyke print --help\n"),
        (["print", "--form", "single-line"], "error: fyke print has no option --form\n"),
        (["sort", "-o"], "error: --out needs a value\nhint: see: fyke sort --help\n"),
        (["print", "/no/such"], "error: there is no file /no/such\n"),
    ],
)
def test_mistakes(argv: list[str], says: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith(says)
    assert "Traceback" not in err


def test_errors_of_a_command(command: Any, capfd: pytest.CaptureFixture[str]) -> None:
    def run(args: argparse.Namespace) -> int:
        raise RunError("it failed", "mend it")

    command.run = run
    assert main(["t", "--size", "3"]) == 1
    assert capfd.readouterr().err == "error: it failed\nhint: mend it\n"


def test_the_exit_code_is_the_commands(command: Any) -> None:
    command.run = lambda args: args.size
    assert main(["toy", "--size", "130"]) == 130


def test_ctrl_c(command: Any, capfd: pytest.CaptureFixture[str]) -> None:
    def run(args: argparse.Namespace) -> int:
        raise KeyboardInterrupt

    command.run = run
    assert main(["toy"]) == 130
    assert capfd.readouterr() == ("", "")


def test_a_defect_is_one_sentence(command: Any, capfd: pytest.CaptureFixture[str]) -> None:
    def run(args: argparse.Namespace) -> int:
        raise ZeroDivisionError("division by zero\nmore")

    command.run = run
    assert main(["toy"]) == 1
    err = capfd.readouterr().err
    assert err.startswith("error: this is a defect of fyke: ZeroDivisionError: division by zero\nhint: ")
    assert "--log-level debug" in err
    assert "Traceback" not in err
    assert main(["--log-level", "debug", "toy"]) == 1
    assert "Traceback" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        ("error", ["error: e"]),
        ("warn", ["warning: w", "error: e"]),
        ("info", ["i", "warning: w", "error: e"]),
    ],
)
def test_log_levels(level: str, shown: list[str], command: Any, capfd: pytest.CaptureFixture[str]) -> None:
    def run(args: argparse.Namespace) -> int:
        log = logging.getLogger("fyke.toy")
        log.debug("d")
        log.info("i")
        log.warning("w")
        log.error("e")
        return 0

    command.run = run
    assert main(["--log-level", level, "toy"]) == 0
    assert capfd.readouterr().err.splitlines() == shown
    assert main(["--log-level", "debug", "toy"]) == 0
    lines = capfd.readouterr().err.splitlines()
    assert [line.split(" ", 2)[2] for line in lines] == ["debug: d", "info: i", "warning: w", "error: e"]


def test_version_and_help() -> None:
    version = fyke("--version")
    assert (version.returncode, version.stdout, version.stderr) == (0, "fyke 0.1.0\n", "")
    shown = fyke("--help")
    assert (shown.returncode, shown.stderr) == (0, "")
    for name in COMMANDS:
        assert f"\n  {name} " in shown.stdout
    assert fyke("print", "--help").stdout.startswith("usage: fyke print ")


def test_no_command_is_wrong_use() -> None:
    shown = fyke()
    assert (shown.returncode, shown.stdout) == (2, "")
    assert "print" in shown.stderr


@pytest.mark.parametrize("argv", [["--help"], *([name, "--help"] for name in COMMANDS), ["--version"]])
def test_help_imports_nothing_heavy(argv: list[str]) -> None:
    """`fyke --help` is to answer at once (0.15 s): no NumPy, Arrow or DuckDB."""
    script = f"""
import sys
from fyke.cli.main import main
assert main({argv!r}) == 0
heavy = {{"numpy", "pyarrow", "duckdb", "yaml", "rich", "pyroute2", "cypcap"}} & set(sys.modules)
assert not heavy, heavy
"""
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment(), timeout=60
    )
    assert (run.returncode, run.stderr) == (0, "")
