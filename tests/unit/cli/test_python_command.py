"""`fyke python`: scripts, where they are found, what they find, and how they end."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from cli_samples import CORPUS, ROOT, environment

from fyke.cli.main import main

NAT = str(CORPUS / "nat-ping" / "events.json")
SORTED = str(CORPUS / "nat-ping" / "sorted.json")
Run = Callable[..., "Done"]
DEMO = str(ROOT / "tools" / "demo.arrow")


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command in this process; a new one takes long on a busy machine."""

    def go(*args: str, **environment: str) -> Done:
        with monkeypatch.context() as changed:
            changed.setattr(sys, "argv", [])
            changed.setattr(sys, "path", sys.path[:])
            changed.setitem(sys.modules, "__main__", sys.modules["__main__"])
            for name, value in environment.items():
                changed.setenv(name, value)
            code = main(["python", *args])
        return Done(code, *capsys.readouterr())

    return go


def script(folder: Path, text: str, name: str = "s.py") -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def test_a_script_has_the_reader_and_its_arguments(run: Run, tmp_path: Path) -> None:
    path = script(
        tmp_path,
        "import sys, fyke\n"
        "print(sys.argv, __name__, __file__, sys.path[0])\n"
        "print(isinstance(reader, fyke.EventFile), reader.sorted(), sum(1 for _ in reader.events()))\n",
    )
    done = run("-i", NAT, path, "a", "-h", "--input", "x")
    assert (done.returncode, done.stderr) == (0, "")
    first, second = done.stdout.splitlines()
    assert first == f"{[path, 'a', '-h', '--input', 'x']} __main__ {path} {tmp_path}"
    assert second == "True False 45"


@pytest.mark.parametrize("variable", ["XDG_CONFIG_HOME", "FYKE_CONFIG_DIR", "HOME"])
def test_scripts_have_folders(run: Run, tmp_path: Path, variable: str) -> None:
    below = {"XDG_CONFIG_HOME": "fyke/python", "FYKE_CONFIG_DIR": "python", "HOME": ".config/retis/python"}
    folder = tmp_path / below[variable]
    folder.mkdir(parents=True)
    script(folder, "print('found', __file__)", "mine.py")
    script(folder, "print('bare')", "bare")
    done = run("-i", NAT, "mine", **{variable: str(tmp_path)})
    assert done.stdout == f"found {folder / 'mine.py'}\n", done.stderr
    assert run("-i", NAT, "bare", **{variable: str(tmp_path)}).stdout == "bare\n"


def test_a_file_comes_before_a_name(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    script(tmp_path, "print('here')", "drops")
    assert run("-i", NAT, "drops").stdout == "here\n"
    assert "NO_SOCKET" not in run("-i", NAT, "./drops").stdout


@pytest.mark.parametrize("path", [DEMO, NAT, SORTED])
def test_our_own_script(run: Run, path: str) -> None:
    done = run("-i", path, "drops")
    assert (done.returncode, done.stderr) == (0, "")
    expected = {DEMO: {"NO_SOCKET": 2, "NOT_SPECIFIED": 1}}.get(path)
    found = {line.split()[1]: int(line.split()[0]) for line in done.stdout.splitlines()}
    if expected is None:
        text = Path(path).read_text()
        expected = {reason: text.count(f'"drop_reason":"{reason}"') for reason in found}
        assert sum(expected.values()) == text.count('"drop_reason"')
    assert found == expected


def test_an_exception_shows_the_script_only(run: Run, tmp_path: Path) -> None:
    path = script(tmp_path, "def f():\n    return 1 / 0\n\nprint('before')\nf()\n")
    done = run("-i", NAT, path)
    assert (done.returncode, done.stdout) == (1, "before\n")
    assert done.stderr.splitlines()[0] == "Traceback (most recent call last):"
    assert done.stderr.splitlines()[-1] == "ZeroDivisionError: division by zero"
    assert done.stderr.count('  File "') == done.stderr.count(f'  File "{path}"') == 2
    assert "return 1 / 0" in done.stderr


def test_a_mistake_in_the_syntax(run: Run, tmp_path: Path) -> None:
    path = script(tmp_path, "print('never')\nif:\n")
    done = run("-i", NAT, path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f'  File "{path}", line 2\n')
    assert "SyntaxError" in done.stderr
    (tmp_path / "nul.py").write_bytes(b"print(1)\0")
    done = run("-i", NAT, str(tmp_path / "nul.py"))
    assert done.returncode == 1
    assert "null byte" in done.stderr


@pytest.mark.parametrize(
    ("end", "code", "said"),
    [
        ("sys.exit()", 0, ""),
        ("sys.exit(3)", 3, ""),
        ("sys.exit('no luck')", 1, "no luck\n"),
        ("raise KeyboardInterrupt", 130, ""),
    ],
)
def test_exit_codes(run: Run, tmp_path: Path, end: str, code: int, said: str) -> None:
    done = run("-i", NAT, script(tmp_path, f"import sys\n{end}\n"))
    assert (done.returncode, done.stderr) == (code, said)


def test_a_damaged_recording_is_not_the_fault_of_the_script(run: Run, tmp_path: Path) -> None:
    lines = Path(NAT).read_bytes().splitlines(keepends=True)
    (tmp_path / "bad.json").write_bytes(b"".join(lines[:3]) + b"{")
    path = script(tmp_path, "for event in reader.events(): print(event.common.timestamp)")
    done = run("-i", str(tmp_path / "bad.json"), path)
    assert (done.returncode, len(done.stdout.splitlines())) == (2, 3)
    assert done.stderr.startswith("error: ")
    assert "damaged at line 4" in done.stderr


def test_the_input_is_found_as_for_print(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = script(tmp_path, "print(sum(1 for _ in reader.events()))")
    done = run(path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: there is no fyke.arrow and no retis.data here\n")
    (tmp_path / "retis.data").write_bytes(Path(NAT).read_bytes())
    assert run(path).stdout == "45\n"
    text = Path(NAT).read_text().replace('"startup":{', '"startup":{"split_file":{"id":N},')
    for number in (0, 1):
        (tmp_path / f"set.{number}").write_text(text.replace('"id":N', f'"id":{number}'))
    assert run("-i", "set.0", path).stdout == "45\n"
    for name in ("set.0..", "set.."):
        assert run("-i", name, path).stdout == "90\n"


def test_the_script_comes_from_a_pipe_where_none_is_named() -> None:
    command = [sys.executable, "-m", "fyke", "python", "-i", NAT, "-", "a"]
    source = "import sys\nprint(len(list(reader.events())), reader, sys.argv)\n1 / 0\n"
    done = subprocess.run(
        command, input=source, capture_output=True, text=True, env=environment(), timeout=60
    )
    assert (done.returncode, done.stdout) == (1, f"45 <EventFile {NAT}> ['<stdin>', 'a']\n")
    assert done.stderr.endswith("ZeroDivisionError: division by zero\n")


def test_wrong_names(run: Run, tmp_path: Path) -> None:
    for name in ("nosuch", "../nosuch", ""):
        done = run("-i", NAT, name)
        assert done.returncode == 2
        assert done.stderr.startswith(f"error: there is no script {name}")
    done = run("-i", str(tmp_path / "nosuch"), "drops")
    assert (done.returncode, done.stderr.splitlines()[0]) == (2, f"error: there is no file {tmp_path}/nosuch")


def test_an_event_file_is_never_run(run: Run, tmp_path: Path) -> None:
    hostile = Path(NAT).read_text().splitlines()[0].replace("retis collect", "\\\"+__import__('os')+\\\"")
    (tmp_path / "e.json").write_text(hostile + "\n")
    path = script(tmp_path, "print(next(reader.events()).startup.cmdline[:20])")
    done = run("-i", str(tmp_path / "e.json"), path)
    assert done.stdout == "\"+__import__('os')+\"\n"


def test_a_closed_pipe_ends_quietly(tmp_path: Path) -> None:
    path = script(tmp_path, "for n in range(10**6): print(n)")
    command = f"{sys.executable} -m fyke python -i {NAT} {path} | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, env=environment(), timeout=60)
    assert (done.stdout, done.stderr) == ("0\n", "")


def test_the_prompt() -> None:
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "fyke", "python", "-i", NAT]
    process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environment(TERM="dumb"))
    os.close(slave)
    packet = b"next(e for e in reader.events() if e.packet).packet.to_scapy()"
    os.write(master, b"len(list(reader.events())) + 1000\n1/0\n" + packet + b"[IP].dst\nexit(7)\n")
    shown = b""
    try:
        while part := os.read(master, 4096):
            shown += part
    except OSError:  # EIO: the other end is closed
        pass
    assert process.wait(60) == 7
    os.close(master)
    text = shown.decode()
    assert "`reader` is the recording" in text
    assert "\r\n1045\r\n" in text
    assert "\r\n'10.0.255.1'\r\n" in text
    assert "ZeroDivisionError: division by zero" in text
    assert 'File "<console>"' in text
    assert "fyke/cli" not in text
