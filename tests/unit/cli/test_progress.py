"""How far reading is, on a terminal: there when it takes long, gone afterwards, never in anyone's way."""

from __future__ import annotations

import fcntl
import io
import logging
import os
import pty
import re
import struct
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cli_samples import rows, write

from fyke.cli import progress as shown
from fyke.cli.main import main
from fyke.cli.progress import Bar, line, reading_shown
from fyke.events import progress
from fyke.events.reader import open_events
from fyke.render.screen import Screen


class Terminal:
    """A terminal as stderr; what was written to it, and what one sees there in the end."""

    def __init__(self) -> None:
        self.written = ""
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.stream = open(theirs, "w")  # noqa: SIM115
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._ours, 65_536)
            except OSError:  # the other end is closed
                return
            self.written += data.decode()

    def wait_for(self, text: str, *, after: int = 0) -> None:
        end = time.monotonic() + 10
        while text not in self.written[after:]:
            assert time.monotonic() < end, self.written
            time.sleep(0.005)

    def close(self) -> None:
        if not self.stream.closed:
            self.stream.close()
            self._reader.join()
            os.close(self._ours)

    @property
    def bars(self) -> list[str]:
        return re.findall(r"\r(reading [^\r\x1b]*)\x1b\[K", self.written)

    @property
    def screen(self) -> list[str]:
        """The lines that are there in the end, which it is then."""
        self.close()
        seen, column = [""], 0
        for piece in re.findall(r"\r\n|\r|\x1b\[K|[^\r\x1b]+", self.written):
            if piece == "\r\n":
                seen.append("")
                column = 0
            elif piece == "\r":
                column = 0
            elif piece == "\x1b[K":
                seen[-1] = seen[-1][:column]
            else:
                seen[-1] = seen[-1][:column] + piece + seen[-1][column + len(piece) :]
                column += len(piece)
        return seen


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    made = Terminal()
    monkeypatch.setattr(shown, "sys", SimpleNamespace(stderr=made.stream))  # pytest has its own sys.stderr
    monkeypatch.setattr(shown, "DELAY_S", 0.0)
    monkeypatch.setattr(shown, "_INTERVAL_S", 0.002)
    monkeypatch.setenv("TERM", "xterm")
    logging.getLogger("fyke").setLevel(logging.INFO)
    yield made
    made.close()


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    return write(tmp_path / "a.arrow", *(rows(n * 10, 10) for n in range(20)))


def read(path: Path, terminal: Terminal, wanted: str = "reading ") -> None:
    """Read a file; half way wait for something to be shown."""
    with open_events(str(path)) as source:
        for number, _ in enumerate(source.batches()):
            if number == 10:
                terminal.wait_for(wanted)


def test_a_bar_while_it_is_read(terminal: Terminal, recording: Path) -> None:
    with reading_shown():
        read(recording, terminal)
        assert isinstance(progress.watcher, shown.Bar)
    assert isinstance(progress.watcher, progress.Nobody)
    assert terminal.screen == [""]
    size = f"{recording.stat().st_size / 1024:.1f} KiB"
    for bar in terminal.bars:
        assert re.fullmatch(rf"reading a\.arrow \[#*\.*\] +\d+% of {size}(, \d+ s left)?", bar)
    shares = [int(share) for share in re.findall(r"(\d+)%", "".join(terminal.bars))]
    assert shares == sorted(shares)
    assert 0 < shares[0] < 100


def test_nothing_before_two_seconds(terminal: Terminal, recording: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(shown, "DELAY_S", 2.0)
    assert main(["convert", str(recording), str(recording.with_name("b.arrow"))]) == 0
    assert terminal.screen == [""]
    assert terminal.written == ""


@pytest.mark.parametrize("why", ["no terminal", "dumb", "warnings only"])
def test_where_there_is_none(
    why: str, terminal: Terminal, recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if why == "dumb":
        monkeypatch.setenv("TERM", "dumb")
    elif why == "warnings only":
        logging.getLogger("fyke").setLevel(logging.WARNING)
    else:
        monkeypatch.setattr(shown, "sys", SimpleNamespace(stderr=io.StringIO()))
    with reading_shown():
        assert isinstance(progress.watcher, progress.Nobody)


def test_messages_stay_above_it(terminal: Terminal, recording: Path) -> None:
    log = logging.getLogger("fyke")
    handler = logging.StreamHandler(terminal.stream)
    log.addHandler(handler)
    try:
        with reading_shown(), open_events(str(recording)) as source:
            for number, _ in enumerate(source.batches()):
                if number == 10:
                    terminal.wait_for("reading ")
                    log.warning("something is odd")
                    terminal.wait_for("odd\r\n\rreading ")
    finally:
        log.removeHandler(handler)
    assert not handler.filters
    assert terminal.screen == ["something is odd", ""]


def test_an_error_takes_it_away(terminal: Terminal, recording: Path) -> None:
    def run() -> None:
        with reading_shown(), open_events(str(recording)) as source:
            batches = source.batches()  # and it stays open
            next(batches)
            terminal.wait_for("reading ")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run()
    assert isinstance(progress.watcher, progress.Nobody)
    assert terminal.screen == [""]


class Rounds:
    """The rounds of a thread that waits between them."""

    def __init__(self) -> None:
        self._number = 0
        self._changed = threading.Condition()

    def counting(self, wait: Callable[[float], bool]) -> Callable[[float], bool]:
        def counted(timeout: float) -> bool:
            with self._changed:
                self._number += 1
                self._changed.notify()
            return wait(timeout)

        return counted

    def pass_by(self, rounds: int) -> None:
        with self._changed:
            until = self._number + rounds
            assert self._changed.wait_for(lambda: self._number >= until, timeout=10)


def test_text_on_the_terminal_comes_alone(
    terminal: Terminal, recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when stdout is the same terminal."""
    monkeypatch.setattr("os.isatty", lambda fd: True)
    with reading_shown(), open_events(str(recording)) as source:
        bar = progress.watcher
        assert isinstance(bar, Bar)
        ended, rounds = bar._ended, Rounds()
        monkeypatch.setattr(ended, "wait", rounds.counting(ended.wait))
        batches = source.batches()
        next(batches)
        terminal.wait_for("reading ")
        with Screen(page=False):
            terminal.stream.write("text\n")
            terminal.stream.flush()
            terminal.wait_for("\r\x1b[Ktext\r\n")
            rounds.pass_by(2)  # when the second begins, the first has drawn what it would
            terminal.stream.write("more\n")
            terminal.stream.flush()
            terminal.wait_for("\r\x1b[Ktext\r\nmore\r\n")
        terminal.wait_for("reading ", after=terminal.written.index("more"))  # it comes back
        batches.close()
    assert terminal.screen == ["text", "more", ""]


def test_files_of_a_set_and_several_are_one(terminal: Terminal, tmp_path: Path) -> None:
    write(tmp_path / "s", *(rows(n * 100, 100) for n in range(20)), limit_bytes=60_000)
    sizes = [path.stat().st_size for path in tmp_path.iterdir()]
    assert len(sizes) > 2
    with open_events(str(tmp_path / "s..")) as source:
        done = [source.position()]
        for _ in source.batches():
            done.append(source.position())
    assert all(position is not None and position[1] == sum(sizes) for position in done)
    parts = [position[0] for position in done if position is not None]
    assert parts == sorted(parts)
    assert parts[-1] == sum(sizes)
    assert source.position() is None
    with (
        reading_shown(),
        open_events(str(tmp_path / "s..")) as one,
        open_events(str(tmp_path / "s.1")) as two,
    ):
        batches = [one.batches(), two.batches()]
        for each in batches:
            next(each)
        terminal.wait_for("reading 2 files [")
        both = sum(sizes) + (tmp_path / "s.1").stat().st_size
        of = f" of {both / 1024:.1f} KiB"
        terminal.wait_for(of)
        terminal.wait_for("\x1b[K", after=terminal.written.index(of))
        for each in batches:
            each.close()
    assert [bar for bar in terminal.bars if "2 files" in bar and of in bar]


def test_a_pipe_has_no_end_to_wait_for(tmp_path: Path) -> None:
    ours, theirs = os.pipe()
    os.write(theirs, write(tmp_path / "a", rows(0, 1)).read_bytes())
    os.close(theirs)
    with open_events(f"/proc/self/fd/{ours}") as source:
        assert source.position() is None
    os.close(ours)


@pytest.mark.parametrize("command", ["print", "sort", "stats", "latency", "pcap", "convert", "query", "diff"])
def test_commands_show_it(
    command: str, terminal: Terminal, recording: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    begun: list[str] = []
    monkeypatch.setattr(shown.Bar, "begin", lambda self, reading: begun.append(reading.path))
    arguments = {
        "convert": [str(recording), str(tmp_path / "b.arrow")],
        "query": ["SELECT count(*) FROM events", str(recording)],
        "diff": [str(recording), str(recording)],
        "pcap": [str(recording), "-o", str(tmp_path / "b.pcapng")],
    }
    assert main([command, *arguments.get(command, [str(recording)])]) == 0
    assert set(begun) == {str(recording)}


@pytest.mark.parametrize("width", [*range(0, 70, 3), 200])
def test_it_fits(width: int) -> None:
    text = line("a.arrow", 0.5, 3 << 30, 3700, width)
    assert len(text) <= width
    assert ("50%" in text) == (width >= 5)
    assert ("#" in text) == (width > 17)
    assert ("3.0 GiB" in text) == (width > 27)
    assert text != line("a.arrow", 0.6, 3 << 30, 3700, width) or width < 5


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.4, "0 s"), (59, "59 s"), (61, "1 min"), (7300, "2 h"), (1e12, "99 h")]
)
def test_times(seconds: float, said: str) -> None:
    assert line("a", 0.1, 10, seconds, 80).endswith(f" 10% of 10 bytes, {said} left")
