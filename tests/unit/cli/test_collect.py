"""`fyke collect` on a made-up kernel: every mistake, and the plan it shows."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from made_kernel import made_kernel
from made_session import on_made_kernel

from fyke.cli.main import main
from fyke.kernel import tracepoints
from fyke.kernel.view import LiveKernel

RX, TX, DROP = "net:netif_receive_skb", "net:net_dev_start_xmit", "skb:kfree_skb"


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    on_made_kernel(monkeypatch, tmp_path)


MISTAKES: list[tuple[str, list[str], str, str]] = [
    # what, arguments, the sentence, (the beginning of) the hint
    ("collector", ["-c", "skb,nope"], "unknown collector 'nope'", "collectors: auto, skb-tracking"),
    ("no collector", ["-c", ""], "unknown collector ''", "collectors: auto"),
    ("collector missing", ["-c", "skb,,dev"], "unknown collector ''", "collectors: auto"),
    (
        "probe option",
        ["-p", "ip_rcv/stakk"],
        "unknown probe option 'stakk' in 'ip_rcv/stakk'",
        "options: stack",
    ),
    (
        "probe type",
        ["-p", "u:ip_rcv"],
        "'u:ip_rcv' doesn't say what to probe of which program",
        "write u:PATH:SYMBOL",
    ),
    ("flow rate", ["--ovs-enrich-rate", "5"], "--ovs-enrich-rate goes with --ovs-enrich-flows", ""),
    (
        "no flow rate",
        ["--ovs-enrich-flows", "--ovs-enrich-rate", "0"],
        "--ovs-enrich-rate 0 is less than 1",
        "",
    ),
    (
        "flows of nothing",
        ["--ovs-enrich-flows"],
        "--ovs-enrich-flows can't work here: the module openvswitch is not loaded",
        "leave it out",
    ),
    ("no probe", ["-p", ""], "probe '' names no target", "write [TYPE:]TARGET"),
    (
        "function",
        ["-p", "ip_rvc"],
        "ip_rvc is inlined, in a module that isn't loaded, or not in this kernel",
        "near: ip_rcv",
    ),
    (
        "tracepoint",
        ["-p", "tp:net:kfree_skb"],
        "there is no tracepoint net:kfree_skb, but skb:kfree_skb",
        "",
    ),
    ("pattern", ["-p", "zz*"], "nothing here matches zz*", "patterns match whole names"),
    (
        "useless probe",
        ["-c", "skb", "-p", "dev_open"],
        "no enabled collector (skb) can take anything from dev_open: "
        "its arguments are (struct net_device *, int)",
        "a probe needs an argument",
    ),
    (
        "section",
        ["--skb-sections", "meta,vlan"],
        "unknown --skb-sections value 'vlan'",
        "values: meta, dataref, gso",
    ),
    ("no section", ["--skb-sections", ""], "unknown --skb-sections value ''", "values: meta, dataref, gso"),
    ("snaplen 0", ["--snaplen", "0"], "--snaplen 0 is not between 1 and 2048", ""),
    ("snaplen -1", ["--snaplen", "-1"], "--snaplen -1 is not between 1 and 2048", ""),
    ("snaplen 2049", ["--snaplen", "2049"], "--snaplen 2049 is not between 1 and 2048", ""),
    (
        "snaplen x",
        ["--snaplen", "x"],
        "--snaplen: 'x' is not a whole number",
        "see: fyke collect --help",
    ),
    ("no snaplen", ["--snaplen"], "--snaplen needs a value", "see: fyke collect --help"),
    ("max 0", ["--max-probes", "0"], "--max-probes 0 is less than 1", ""),
    (
        "max",
        ["--max-probes", "2"],
        "11 probes are more than --max-probes 2",
        "narrow the pattern or raise it",
    ),
    ("buffer", ["--buffer", "64"], "--buffer: '64' has no unit", "write 64B, 64K, 64MB"),
    ("buffer 0", ["--buffer", "0M"], "--buffer: '0M' is not a usable size", "write something between"),
    (
        "buffer big",
        ["--buffer", "5GiB"],
        "--buffer 5368709120 is more than rings can have: 2 GiB for each of 2 CPUs",
        "",
    ),
    (
        "rotate",
        ["--out-rotate", "1XB"],
        "--out-rotate: '1XB' is not a size",
        "write a whole number and a unit",
    ),
    ("stop 0", ["--stop-after", "0"], "--stop-after 0 is less than 1", ""),
    ("stop -5", ["--stop-after", "-5"], "--stop-after -5 is less than 1", ""),
    ("stop x", ["--stop-after", "1.5"], "--stop-after: '1.5' is not a whole number", "see: "),
    ("json", ["--json"], "--json goes with --dry-run", "write events as JSON with -o FILE.json"),
    ("out format", ["--out-format", "xml"], "argument --out-format: invalid choice: 'xml'", "see: "),
    ("format", ["--format", "one-line"], "argument --format: invalid choice: 'one-line'", "see: "),
    ("color", ["--color", "yes"], "argument --color: invalid choice: 'yes'", "see: "),
    (
        "unknown option",
        ["--frobnicate"],
        "fyke collect has no option --frobnicate",
        "see: fyke collect --help",
    ),
    ("abbreviated option", ["--snap", "9"], "fyke collect has no option --snap", "see: fyke collect --help"),
    (
        "stacks of all packets",
        ["--probe-stack"],
        "--probe-stack needs a filter: without, it would probe whatever any packet passes",
        "say which packets, e.g. -f icmp or -m 'sk_buff.mark == 7'",
    ),
    (
        "nothing to save",
        ["--save-profile", "x"],
        "--save-profile goes with --probe-stack",
        "`fyke profile save` saves options",
    ),
    ("empty filter", ["-f", ""], "the packet filter is empty", "leave the option out to take every packet"),
    (
        "inner filter",
        ["--filter-inner", "tcp prot 80"],
        "--filter-inner: packet filter: syntax error, at character 5:",
        "pcap-filter(7) has the language",
    ),
    (
        "two filters",
        ["-f", "icmp", "-F", "file"],
        "-f and -F are both given",
        "join the two expressions with `and`, in one of them",
    ),
    (
        "field filter",
        ["-m", "sk_buff.mark =="],
        "field filter, character 16: expected a value",
        "numbers, names, addresses and strings are values",
    ),
    ("a filter twice", ["-f", "tcp", "-f", "udp"], "-f is given twice", "join what is meant in one of them"),
    ("dump", ["--dump", "ebpf"], "--dump goes with --dry-run", ""),
    (
        "dump stage",
        ["--dry-run", "--dump", "asm"],
        "unknown --dump stage 'asm'",
        "stages: cbpf, ebpf, fields",
    ),
    ("argument", ["ip_rcv"], "unrecognized arguments: ip_rcv", "see: fyke collect --help"),
    (
        "ready file",
        ["--ready-file", "no/ready"],
        "can't write --ready-file no/ready: No such file or directory",
        "",
    ),
    ("ready folder", ["--ready-file", "."], "can't write --ready-file .: Is a directory", ""),
]


@pytest.mark.parametrize(
    ("arguments", "message", "hint"), [m[1:] for m in MISTAKES], ids=[m[0] for m in MISTAKES]
)
def test_a_mistake_is_one_sentence_and_leaves_files_alone(
    arguments: list[str], message: str, hint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["collect", "-o", "old.arrow", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    said = err.splitlines()
    assert said[0].startswith(f"error: {message}")
    hints = [line for line in said[1:] if not line.startswith("  ")]  # the others show the place
    assert len(hints) == 1 or not hint
    assert "".join(hints).removeprefix("hint: ").startswith(hint)
    assert os.listdir(tmp_path) == ["old.arrow"]
    assert (tmp_path / "old.arrow").read_bytes() == b"precious"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out-rotate", "1MB"], "--out-rotate needs --out"),
        (["--out-format", "json"], "--out-format needs --out"),
        (["--print"], "--print needs --out"),
    ],
)
def test_options_of_a_file_need_one(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["collect", *arguments]) == 2
    assert capsys.readouterr().err.splitlines()[0] == f"error: {message}"


def test_typing_mistakes_are_found_where_there_is_no_kernel_to_speak_of(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def nothing() -> Any:
        raise AssertionError("the kernel was asked")

    monkeypatch.setattr("fyke.kernel.view.LiveKernel", lambda: None)
    monkeypatch.setattr("fyke.kernel.tracepoints.available_events", nothing)
    needs_kernel = {
        "function",
        "tracepoint",
        "pattern",
        "useless probe",
        "nothing to do",
        "max",
        "flows of nothing",
    }
    for name, arguments, message, _ in MISTAKES:
        if name not in needs_kernel:
            assert main(["collect", "-o", "old.arrow", *arguments]) == 2, name
            assert f"error: {message}" in capsys.readouterr().err


@pytest.mark.parametrize(("option", "readings"), [([], 1), (["--allow-system-changes"], 2)])
def test_what_a_profile_has_read_of_the_kernel_is_read_again_only_if_tracefs_may_have_come(
    option: list[str], readings: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    profile = tmp_path / "own.yaml"
    profile.write_text(
        'version: "1.0"\nname: own\ncollect:\n'
        "  - name: one\n    when: [{type: symbol, name: ip_rcv}]\n    args: {probe: [ip_rcv]}\n"
    )
    made: list[LiveKernel] = []

    def read() -> LiveKernel:
        made.append(made_kernel())
        return made[-1]

    monkeypatch.setattr("fyke.kernel.view.LiveKernel", read)
    monkeypatch.setattr(tracepoints, "available_events", frozenset)
    assert main(["-p", str(profile), "collect", "--dry-run", *option]) == 0
    assert len(made) == readings


@pytest.mark.parametrize("error", [FileNotFoundError(2, "No such file or directory"), ValueError("no list")])
def test_a_machine_that_does_not_list_its_cpus(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails() -> Any:
        raise error

    monkeypatch.setattr("fyke.kernel.machine.possible_cpus", fails)
    assert main(["collect"]) == 2
    assert capsys.readouterr().err == f"error: the list of CPUs can't be read: {error}\nhint: mount /sys\n"


def test_old_names_of_skb_sections_have_no_effect(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["collect", "--dry-run", "--json", "--skb-sections", "tcp,gso,ns"]) == 0
    out, err = capsys.readouterr()
    assert err == "warning: --skb-sections tcp has no effect\nwarning: --skb-sections ns has no effect\n"
    sections = {s["name"] for s in json.loads(out)["record"]["sections"]}
    assert sections >= {"skb_gso", "packet"}
    assert "skb_meta" not in sections


# The plan


def test_the_plan_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["-c", "skb-tracking,dev", "-p", "ip_rcv/stack", "-p", "tp:net:*", "--buffer", "8M"]
    assert main(["collect", "--dry-run", *arguments]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert (
        out
        == """\
collectors: skb-tracking, dev
probes:
  kprobe_multi ip_rcv [stack] (ip_rcv/stack): skb_tracking, dev
  raw_tracepoint net:net_dev_start_xmit (tp:net:*): skb_tracking, dev
  raw_tracepoint net:netif_receive_skb (tp:net:*): skb_tracking, dev
  kprobe_multi skb_free_head [free] (for skb-tracking): nothing recorded
  kprobe_multi kfree_skb_partial [free_if_stolen] (for skb-tracking): nothing recorded
  kprobe_multi pskb_expand_head [expand] (for skb-tracking): nothing recorded
  kprobe_multi napi_skb_free_stolen_head [free] (for skb-tracking): nothing recorded
  fexit __skb_gso_segment (for skb-tracking): nothing recorded
  fexit skb_gro_receive (for skb-tracking): skb_tracking
  fexit skb_gro_receive_list (for skb-tracking): skb_tracking
  fexit pskb_expand_head (for skb-tracking): nothing recorded
functions without a type: kprobe_multi: one program and one link serve all functions
record: 112 bytes: header at 0, skb_tracking at 48, dev at 88
memory: 8.0 MiB in 2 ring(s), each with room for 34952 records; 8.0 MiB for tracking; 15.9 MiB for stacks
note: tp:net:*: 1 of 3 matches left out, no collector takes data there
"""
    )


def test_the_plan_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["-c", "skb", "-p", TX, "-p", "ip_output", "--snaplen", "64", "--buffer", "8M"]
    assert main(["collect", "--dry-run", "--json", *arguments]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "collectors": ["skb"],
        "probes": [
            {
                "symbol": TX,
                "mechanism": "raw_tracepoint",
                "asked": [TX],
                "sections": ["vlan_accel", "packet"],
                "arguments": {"skb": 0, "dev": 1},
                "flags": [],
            },
            {
                "symbol": "ip_output",
                "mechanism": "kprobe_multi",
                "asked": ["ip_output"],
                "sections": ["vlan_accel", "packet"],
                "arguments": {"net": 0, "skb": 2},
                "flags": [],
            },
        ],
        "choices": {"kprobe_multi": "one program and one link serve all functions"},
        "adds": None,
        "filters": {},
        "record": {
            "bytes": 136,
            "sections": [{"name": "vlan_accel", "offset": 48}, {"name": "packet", "offset": 56}],
        },
        "memory": {
            "rings": 8 << 20,
            "ring": 4 << 20,
            "cpus": 2,
            "records_per_ring": (4 << 20) // 144,
            "tracking": 0,
            "stacks": 0,
            "calls": 0,
        },
        "notes": [],
    }


def test_a_plan_touches_no_file(tmp_path: Path) -> None:
    (tmp_path / "ready").write_text("stale")
    assert (
        main(["collect", "--dry-run", "-o", "old.arrow", "--ready-file", "ready", "--cmd", "touch made"]) == 0
    )
    assert sorted(os.listdir(tmp_path)) == ["old.arrow", "ready"]
    assert (tmp_path / "old.arrow").read_bytes() == b"precious"


# tracefs


@contextmanager
def _mounting(log: list[str]) -> Iterator[None]:
    log.append("mounted")
    yield
    log.append("unmounted")


@pytest.mark.parametrize(
    ("readable", "allowed", "expected"),
    [(True, True, []), (False, True, ["mounted", "unmounted"]), (False, False, []), (True, False, [])],
)
def test_tracefs_is_mounted_only_when_needed_and_allowed(
    readable: bool, allowed: bool, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def events() -> frozenset[str]:
        if readable:
            return frozenset({RX})
        raise PermissionError(1, "Operation not permitted")

    log: list[str] = []
    monkeypatch.setattr(tracepoints, "available_events", events)
    monkeypatch.setattr(tracepoints, "mounted_tracefs", lambda: _mounting(log))
    assert main(["collect", "--dry-run", *(["--allow-system-changes"] if allowed else [])]) == 0
    assert log == expected


def test_a_mount_that_fails_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails() -> Any:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(tracepoints, "available_events", fails)
    monkeypatch.setattr(tracepoints, "mounted_tracefs", fails)
    assert main(["collect", "--dry-run", "--allow-system-changes"]) == 2
    assert capsys.readouterr().err == (
        "error: tracefs can't be mounted: Operation not permitted\n"
        "hint: run it as root, or leave --allow-system-changes out\n"
    )
