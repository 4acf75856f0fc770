"""query: SQL from the command line, from stdin and at the prompt; every form of result; what is refused."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cli_samples import CORPUS, environment, fyke, rows, write

from fyke.cli.main import main
from fyke.events.reader import open_events

BASIC = CORPUS / "basic-default" / "events.json"
COUNTS = "SELECT symbol, count(*) AS n FROM events GROUP BY symbol ORDER BY n DESC, symbol"


def counted(path: Path) -> list[tuple[str, int]]:
    """Return what COUNTS should give, counted in plain Python."""
    found: dict[str, int] = {}
    with open_events(str(path)) as source:
        for batch in source.batches():
            for row in batch.to_pylist():
                symbol = row["kernel"]["symbol"]
                found[symbol] = found.get(symbol, 0) + 1
    return sorted(found.items(), key=lambda item: (-item[1], item[0]))


def ask(*argv: str, capfd: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    code = main(["query", *argv])
    return code, *capfd.readouterr()


def test_a_table(capfd: pytest.CaptureFixture[str]) -> None:
    code, out, err = ask("--format", "table", COUNTS, str(BASIC), capfd=capfd)
    assert (code, err) == (0, "")
    head, rule, *lines = out.splitlines()
    assert head.split() == ["symbol", "n"]
    assert set(rule) == {"-", " "}
    assert len({len(line) for line in (head, rule, *lines)}) == 1, "it is aligned"
    assert [(a, int(b)) for a, b in map(str.split, lines)] == counted(BASIC)


def test_csv_where_there_is_no_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    _, out, _ = ask(COUNTS, str(BASIC), capfd=capfd)
    head, *lines = csv.reader(io.StringIO(out))
    assert head == ["symbol", "n"]
    assert [(a, int(b)) for a, b in lines] == counted(BASIC)


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("out.csv", lambda p: duckdb.sql(f"SELECT * FROM read_csv('{p}')").fetchall()),
        ("out.json", lambda p: [tuple(r.values()) for r in json.loads(p.read_text())]),
        ("out.parquet", lambda p: [tuple(r.values()) for r in pq.read_table(p).to_pylist()]),
        ("out.arrow", lambda p: [tuple(r.values()) for r in pa.ipc.open_stream(p).read_all().to_pylist()]),
        ("out.txt", lambda p: [(a, int(b)) for a, b in map(str.split, p.read_text().splitlines()[2:])]),
    ],
)
def test_files_by_their_names(
    name: str, read: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / name
    assert ask(COUNTS, str(BASIC), "-o", str(out), capfd=capfd) == (0, "", "")
    assert read(out) == counted(BASIC)
    assert list(tmp_path.iterdir()) == [out]


VALUES = """
SELECT NULL AS nothing, '' AS empty, 'a"b, c' AS quoted, 18446744073709551615::UBIGINT AS large,
    sum(9223372036854775807) AS larger,
    0.5::DOUBLE AS half, 'nan'::DOUBLE AS nan, 1.25::DECIMAL(5, 2) AS exact,
    [1, NULL] AS list, {'a': 'x', 'b': NULL} AS struct, '\\xFF\\x00'::BLOB AS bytes, true AS yes,
    DATE '2026-01-02' AS day, INTERVAL 3 DAY AS span, chr(27) || '[31m' || chr(10) AS evil
"""


def test_values_of_every_kind(capfd: pytest.CaptureFixture[str]) -> None:
    _, out, err = ask("--format", "json", VALUES, str(BASIC), capfd=capfd)
    assert err == ""
    (row,) = json.loads(out)
    assert row == {
        "nothing": None,
        "empty": "",
        "quoted": 'a"b, c',
        "large": 2**64 - 1,
        "larger": 2**63 - 1,
        "half": 0.5,
        "nan": None,
        "exact": 1.25,
        "list": [1, None],
        "struct": {"a": "x", "b": None},
        "bytes": "ff00",
        "yes": True,
        "day": "2026-01-02",
        "span": "P0M3DT0S",
        "evil": "\x1b[31m\n",
    }
    _, out, _ = ask("--format", "csv", VALUES, str(BASIC), capfd=capfd)
    (line,) = csv.DictReader(io.StringIO(out))
    assert line["quoted"] == 'a"b, c'
    assert line["larger"] == str(2**63 - 1)
    assert json.loads(line["struct"]) == {"a": "x", "b": None}
    assert ',"",' in out.splitlines()[1], "an empty text isn't nothing"
    _, out, _ = ask("--format", "table", VALUES, str(BASIC), capfd=capfd)
    assert "\x1b" not in out
    assert r"\x1b[31m\x0a" in out
    assert len(out.splitlines()) == 3


def test_columns_of_one_name(capfd: pytest.CaptureFixture[str]) -> None:
    _, out, _ = ask("--format", "json", "SELECT 1 AS a, 2 AS a, 3 AS a_1", str(BASIC), capfd=capfd)
    assert json.loads(out) == [{"a": 1, "a_2": 2, "a_1": 3}]


def test_nothing_found(capfd: pytest.CaptureFixture[str]) -> None:
    sql = "SELECT symbol FROM events WHERE false"
    assert ask("--format", "json", sql, str(BASIC), capfd=capfd)[1] == "[]\n"
    assert ask("--format", "csv", sql, str(BASIC), capfd=capfd)[1] == '"symbol"\n'
    assert ask("--format", "table", sql, str(BASIC), capfd=capfd)[1] == "symbol\n------\n"


WRONG = [
    ("SELEC 1", "syntax error", "in line 1 at 'SELEC 1'"),
    ("SELECT 1,\n  symbo FROM events", '"symbo" not found', "in line 2 at 'symbo FROM events'"),
    ("SELECT * FROM evnts", "evnts does not exist", "did you mean events?"),
    ("", "there is no SQL statement", ""),
    ("SELECT symbol::INT FROM events", "Could not convert", ""),
    ("COPY (SELECT 1) TO 'x'", "COPY is not possible", ""),
    ("SELECT '\x1b[31m' FROM evnts", "evnts", ""),
]


@pytest.mark.parametrize(("sql", "said", "more"), WRONG, ids=[w[1] for w in WRONG])
def test_wrong_sql(sql: str, said: str, more: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.csv"
    code, shown, err = ask(sql, str(BASIC), "-o", str(out), capfd=capfd)
    assert (code, shown) == (2, "")
    error, hint = err.splitlines()
    assert error.startswith("error: ")
    assert hint.startswith("hint: ")
    assert said in error
    assert more in err
    assert "\x1b" not in err
    assert not list(tmp_path.iterdir()), "nothing half done"


@pytest.mark.parametrize("word", ["nosuch.arrow", "no/such"])
def test_a_file_that_is_not_there(word: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["query", word]) == 2
    assert capfd.readouterr().err.startswith(f"error: there is no file {word}\n")


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["SELECT 1", "-o", "x.docx"], "doesn't say in which format"),
        (["SELECT 1", "-o", "/nowhere/x.csv"], "there is no directory /nowhere"),
        (["SELECT 1", "--memory", "1K"], "too little"),
        (["SELECT 1", "--memory", "lots"], "is not a size"),
        (["SELECT 1", "--journeys"], "--journeys needs a packet filter"),
        (["SELECT 1; SELECT 2", "-o", "x.csv"], "2 statements for one file"),
    ],
)
def test_wrong_options(argv: list[str], said: str, capfd: pytest.CaptureFixture[str]) -> None:
    code, out, err = ask(argv[0], str(BASIC), *argv[1:], capfd=capfd)
    assert (code, out) == (2, "")
    assert said in err


def test_the_recording_is_not_written_over(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "a.arrow", rows(1, 6))
    before = path.read_bytes()
    code, _, err = ask(COUNTS, str(path), "-o", str(path), capfd=capfd)
    assert code == 2
    assert "is the recording that is read" in err
    assert path.read_bytes() == before


def test_what_is_before_damage_is_counted(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    whole = write(tmp_path / "a.arrow", rows(1, 6), rows(7, 6)).read_bytes()
    (tmp_path / "cut.arrow").write_bytes(whole[:-60])
    for sql in ("SELECT count(*) AS n FROM events", "SELECT sum(events) AS n FROM journeys"):
        code, out, err = ask(sql, str(tmp_path / "cut.arrow"), capfd=capfd)
        assert (code, out) == (2, '"n"\n6\n')
        assert "damaged at byte" in err


def test_only_packets_that_match(capfd: pytest.CaptureFixture[str]) -> None:
    sql = "SELECT count(*) AS n, count(flow.proto) AS p FROM events"
    _, out, err = ask("--format", "json", sql, str(BASIC), "-f", "icmp", capfd=capfd)
    (icmp,) = json.loads(out)
    assert err == ""
    assert icmp["n"] == icmp["p"] > 0
    sql = "SELECT count(*) AS n FROM events WHERE flow.proto = 'ICMP'"
    assert json.loads(ask("--format", "json", sql, str(BASIC), capfd=capfd)[1]) == [{"n": icmp["n"]}]
    chosen = "SELECT journey FROM events WHERE flow.proto = 'ICMP'"
    sql = f"SELECT count(*) AS n FROM events WHERE journey IN ({chosen})"
    (whole,) = json.loads(ask("--format", "json", sql, str(BASIC), capfd=capfd)[1])
    argv = ["--format", "json", "SELECT count(*) AS n FROM events", str(BASIC), "-f", "icmp", "--journeys"]
    assert json.loads(ask(*argv, capfd=capfd)[1]) == [whole]


def test_a_pipe_is_read_once(tmp_path: Path) -> None:
    command = f"cat {BASIC} | {sys.executable} -m fyke query --format json '{COUNTS}' /dev/stdin"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, env=environment(), timeout=60)
    assert done.stderr == ""
    assert [tuple(r.values()) for r in json.loads(done.stdout)] == counted(BASIC)


def test_sql_from_stdin() -> None:
    command = [sys.executable, "-m", "fyke", "query", "--format", "table", str(BASIC)]
    text = f"-- a comment;\n{COUNTS};\nSELECT 42 AS answer"
    done = subprocess.run(command, input=text, capture_output=True, text=True, env=environment(), timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    first, second = done.stdout.split("\n\n")
    assert len(first.splitlines()) == 2 + len(counted(BASIC))
    assert second.split() == ["answer", "------", "42"]
    done = subprocess.run(command, input="", capture_output=True, text=True, env=environment(), timeout=60)
    assert done.returncode == 2
    assert "there is no SQL" in done.stderr


def test_a_closed_pipe_ends_quietly() -> None:
    sql = "SELECT range FROM range(10000000)"
    command = f"{sys.executable} -m fyke query '{sql}' {BASIC} | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, env=environment(), timeout=60)
    assert (done.stdout, done.stderr) == ('"range"\n', "")


def test_a_large_result_goes_to_disk(tmp_path: Path) -> None:
    sql = "SELECT range % 1000003 AS a, md5(range::VARCHAR) AS b FROM range(1500000) ORDER BY b"
    out = tmp_path / "o.parquet"
    done = fyke("query", "--memory", "64MiB", sql, str(BASIC), "-o", str(out), TMPDIR=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert pq.read_metadata(out).num_rows == 1_500_000
    assert list(tmp_path.iterdir()) == [out]


@pytest.fixture
def terminal() -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "fyke", "query", str(BASIC)]
    env = environment(TERM="dumb")
    process = subprocess.Popen(
        command, stdin=slave, stdout=slave, stderr=slave, env=env, start_new_session=True
    )
    os.close(slave)
    yield master, process
    process.kill()
    process.wait()
    os.close(master)


def until(master: int, wanted: str, limit_s: float = 30) -> str:
    seen, end = "", time.monotonic() + limit_s
    while wanted not in seen:
        assert time.monotonic() < end, f"no {wanted!r} in {seen!r}"
        if select.select([master], [], [], 0.2)[0]:
            seen += os.read(master, 1 << 16).decode()
    return seen


def test_the_prompt(terminal: tuple[int, subprocess.Popen[bytes]]) -> None:
    master, process = terminal
    until(master, "fyke> ")
    os.write(master, b".columns losses\n")
    assert "stack_full" in until(master, "fyke> ")
    os.write(master, b"SELECT count(*) AS\n")
    until(master, "... ")
    os.write(master, b"n FROM events;\n")
    assert str(sum(n for _, n in counted(BASIC))) in until(master, "fyke> ")
    os.write(master, b"SELECT 7 AS lucky\n\n")
    assert "lucky\r\n-----\r\n    7\r\n" in until(master, "fyke> ")
    os.write(master, b"SELECT nope FROM events;\n")
    assert 'error: Referenced column "nope"' in until(master, "fyke> ")
    os.write(
        master, b"SELECT count(*) FROM range(10000000) a, range(10000000) b WHERE a.range + b.range = -1;\n"
    )
    until(master, "\n")
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    assert "stopped" in until(master, "fyke> ")
    os.write(master, b"\x04")
    assert process.wait(30) == 0


def test_several_recordings_and_a_directory_of_them(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    names = [str(tmp_path / name) for name in ("a.json", "b.json")]
    for name in names:
        Path(name).write_bytes(BASIC.read_bytes())
    broken = write(tmp_path / "c.arrow", [{"timestamp_ns": 1}])
    broken.write_bytes(broken.read_bytes()[:3000])
    sql = "SELECT file, count(*) AS n FROM events GROUP BY file ORDER BY file"
    total = sum(n for _, n in counted(BASIC))
    for argv in (names, [str(tmp_path / "*.json")], [str(tmp_path)]):
        code, out, err = ask(sql, *argv, capfd=capfd)
        assert code == 0
        assert [tuple(row) for row in csv.reader(io.StringIO(out))][1:] == [(n, str(total)) for n in names]
        assert ("left out" in err) == (argv == [str(tmp_path)])
    code, _, err = ask(sql, *names, "-o", names[1], capfd=capfd)
    assert code == 2
    assert f"{names[1]} is the recording that is read" in err


def test_what_a_filter_cannot_judge_names_the_recording(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    bare = write(tmp_path / "bare.arrow", [{"timestamp_ns": 1}])
    _, out, err = ask("SELECT count(*) FROM events", str(BASIC), str(bare), "-f", "icmp", capfd=capfd)
    assert int(out.splitlines()[1]) > 0
    assert (
        err == f"warning: {bare}: no event holds a packet, so none can match: record with the collector skb\n"
    )
