"""`fyke profile`, and `-p` before a command."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from fyke.capture.plan import Options
from fyke.cli import collect, main
from fyke.cli.folders import folders
from fyke.errors import Unsupported
from fyke.profiles.find import SHIPPED

GOOD = """\
version: 1.0
name: mine
about: What I look at
collect:
  - name: never
    when: [{type: version, version: "> 99"}]
    args: {probe: a}
  - args: {probe: ["net:netif_rx", ip_rcv], snaplen: 64, stack: ~}
pcap:
  - args: {probe: "net:netif_rx"}
---
version: 1.0
name: dropmon
about: Another one
collect: [{args: {}}]
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder of profiles, with one file."""
    monkeypatch.setenv("FYKE_CONFIG_DIR", str(tmp_path / "config"))
    folder = tmp_path / "config" / "profiles"
    folder.mkdir(parents=True)
    (folder / "good.yaml").write_text(GOOD)
    return folder


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main.main(words)
    return code, *capsys.readouterr()


def test_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/h")
    rest = [SHIPPED, "/h/.config/retis/profiles", "/usr/share/retis/profiles", "/etc/retis/profiles"]
    for variables, own in (
        ({}, "/h/.config/fyke/profiles"),
        ({"XDG_CONFIG_HOME": "/x"}, "/x/fyke/profiles"),
        ({"XDG_CONFIG_HOME": "/x", "FYKE_CONFIG_DIR": "/f"}, "/f/profiles"),
    ):
        for name in ("XDG_CONFIG_HOME", "FYKE_CONFIG_DIR"):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        assert list(folders("profiles", SHIPPED)) == [own, "/etc/fyke/profiles", *rest]


@pytest.mark.parametrize("words", [["profile"], ["profile", "list"]])
def test_list(words: list[str], config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, *words)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[:3] == [
        f"{config}/good.yaml:",
        "  mine                 What I look at",
        "  dropmon              Another one",
    ]
    (hidden,) = [line for line in lines[3:] if line.startswith("  dropmon ")]
    assert hidden.endswith("(hidden by the one of this name above)")


def test_list_for_programs_and_shells(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (config / "evil.yaml").write_text('version: 1.0\nname: "$(touch pwned)"\n')
    code, out, _ = run(capsys, "profile", "list", "--json")
    assert code == 0
    found = {(one["name"], one["hidden"]) for one in json.loads(out)}
    assert found > {("mine", False), ("dropmon", False), ("dropmon", True), ("$(touch pwned)", False)}
    _, out, _ = run(capsys, "profile", "--names")
    names = out.splitlines()
    assert {"mine", "dropmon", "tcp"} < set(names)
    assert len(set(names)) == len(names)
    assert "touch" not in out


def test_broken_files_are_told(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (config / "bad.yaml").write_text("version: 1.0\nname: x\ncollect: [{}]\n")
    code, out, err = run(capsys, "profile", "list")
    assert (code, "mine" in out) == (0, True)
    assert err == f"warning: {config}/bad.yaml:3: args: it is missing\n"


def test_show(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "profile", "show", "mine,dropmon")
    assert (code, err) == (0, "")
    first, second = out.split("\n\n")
    release = os.uname().release
    assert first.splitlines() == [
        "mine: What I look at",
        f"  from {config}/good.yaml, line 1",
        f"  collect, variant never: not for this machine, the kernel {release} is not > 99",
        "  collect, variant Default, used here:",
        "    fyke collect --probe net:netif_rx --probe ip_rcv --snaplen 64 --stack",
        "  pcap, variant Default, used here:",
        "    fyke pcap --probe net:netif_rx",
    ]
    assert second.splitlines()[:2] == ["dropmon: Another one", f"  from {config}/good.yaml, line 12"]
    code, out, _ = run(capsys, "profile", "show", "--json", str(config / ".." / "profiles" / "one.yaml"))
    assert code == 2
    (facts,) = json.loads(run(capsys, "profile", "show", "mine", "--json")[1])
    never, default = facts["commands"]["collect"]
    assert (never["used"], default["used"]) == (False, True)
    assert default["args"] == {"probe": ["net:netif_rx", "ip_rcv"], "snaplen": "64", "stack": None}


def test_shipped_profiles_are_right(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "profile", "check")
    assert (code, err) == (0, ""), out
    assert f"{SHIPPED}/drops.yaml: dropmon, nft-dropmon: right\n" in out


# A variant's options, from line 5 on -> what is wrong with them on any kernel.
WRONG = {
    "probe: tp:nope": "4: 'nope' in 'tp:nope' is no tracepoint",
    "collectors: skb,nope": "4: unknown collector 'nope'",
    "filter_packet: tcp prot": "4: packet filter: syntax error",
    "filter_meta: sk_buff.len ==": "4: ",
    "snaplen: 0": "4: --snaplen 0 is not between",
    "out_rotate: 1MB": "4: --out-rotate needs --out",
    "nope: x": "5: nope: fyke collect has no option --nope",
    "stack: ~\n      stakc: ~": "6: stakc: fyke collect has no option --stakc",
    "stack: [": "6: ",
}


@pytest.mark.parametrize("args", WRONG)
def test_check_finds_what_is_wrong(args: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(f"version: 1.0\nname: x\ncollect:\n  - args:\n      {args}\n")
    code, out, err = run(capsys, "profile", "check", str(path))
    assert (code, err) == (2, "")
    assert out.startswith(f"{path}:{WRONG[args]}")
    assert out.count(str(path)) == 1


def test_check_by_name_and_of_all(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "profile", "check", "mine")[:2] == (0, f"{config}/good.yaml: mine: right\n")
    (config / "good.yaml").write_text(GOOD.replace("name: dropmon", "name: mine"))
    (config / "empty.yml").write_text("")
    code, out, _ = run(capsys, "profile", "check")
    assert code == 2
    assert f"{config}/good.yaml:12: name: mine is given twice, first at line 1\n" in out
    assert f"{config}/empty.yml: there is no profile in it\n" in out
    extra = tmp_path / "extra"
    extra.mkdir()
    (extra / "more.yaml").write_text("version: 2.0\nname: x\n")
    code, out, _ = run(capsys, "-P", str(extra), "profile", "check")
    assert out.startswith(f"{extra}/more.yaml:1: version: 2.0 is another format")


LINE = [
    "collect",
    "-p",
    "net:netif_rx",
    "-p",
    "ip_rcv",
    "-c",
    "skb,dev",
    "--stack",
    "--snaplen=64",
    "-e",
    "-o",
]


def test_save_and_use(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "profile", "save", "new", "--about", "It's: new", "--", *LINE)
    path = config / "new.yaml"
    assert (code, out, err) == (0, "", f"saved {path}: fyke -p new collect\n")
    assert path.stat().st_mode & 0o777 == 0o644
    assert sorted(os.listdir(config)) == ["good.yaml", "new.yaml"]
    assert run(capsys, "profile", "check", "new")[0] == 0
    (facts,) = json.loads(run(capsys, "profile", "show", "--json", "new")[1])
    assert facts["about"] == "It's: new"
    words = facts["commands"]["collect"][0]["words"]
    assert main.parser_of("collect").parse_args(words) == main.parser_of("collect").parse_args(LINE[1:])


def test_save_takes_profiles_of_the_line_into_account(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = run(
        capsys, "profile", "save", "tcp", "--", "fyke", "-p", "mine", "collect", "--snaplen", "9"
    )
    assert code == 0
    assert f"warning: it takes the place of the profile in {SHIPPED}/tcp.yaml" in err
    (facts,) = json.loads(run(capsys, "profile", "show", "--json", str(config / "tcp.yaml"))[1])
    assert facts["commands"]["collect"][0]["args"] == {
        "probe": ["net:netif_rx", "ip_rcv"],
        "snaplen": "9",
        "stack": None,
    }


def test_save_replaces_nothing_unasked(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["--", "pcap", "-p", "net:netif_rx"]
    code, _, err = run(capsys, "profile", "save", "good", *line)
    assert (code, "there is a file" in err, "--force" in err) == (2, True, True)
    assert (config / "good.yaml").read_text() == GOOD
    assert run(capsys, "profile", "save", "--force", "good", *line)[0] == 0
    assert "netif_rx" in (config / "good.yaml").read_text()
    assert os.listdir(config) == ["good.yaml"]


def test_save_makes_no_second_one_of_a_name(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "profile", "save", "--force", "dropmon", "--", *LINE)
    assert (code, f"there is a profile dropmon in {config}/good.yaml already" in err) == (2, True)
    assert os.listdir(config) == ["good.yaml"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["save"], "no name given"),
        (["save", "x"], "there is no command line to save"),
        (["save", "x", "y", "--", "collect"], "takes one name"),
        (["save", "x", "--", "collect"], "has no options to save"),
        (["save", "x", "--", "sort", "--utc"], "fyke sort takes no profile"),
        (["save", "x", "--", "collect", "--nope"], "fyke collect has no option --nope"),
        (["save", "x", "--", "collect", "-p", "tp:x"], "'x' in 'tp:x' is no tracepoint"),
        (["save", "x", "--", "pcap", "a.arrow"], "a profile has no place for input"),
        (["save", "../x", "--", *LINE], "can't be the name of a profile"),
        (["save", "x.yaml", "--", *LINE], "can't be the name of a profile"),
        (["save", "", "--", *LINE], "can't be the name of a profile"),
        (["show"], "no profile named"),
        (["show", "nosuch"], "there is no profile nosuch"),
        (["show", "a,,b"], "the name of a profile is empty"),
        (["list", "x"], "fyke profile list takes no names"),
        (["list", "--force"], "--force goes with fyke profile save"),
        (["check", "--json"], "--json goes with fyke profile list or show"),
        (["check", "--", "collect"], "a command line goes with fyke profile save"),
        (["list", "--json", "--names"], "--names and --json are both given"),
        (["erase"], "invalid choice"),
    ],
)
def test_wrong_use(words: list[str], message: str, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "profile", *words)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert message in err
    assert os.listdir(config) == ["good.yaml"]


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["-p", "mine", "print"], "fyke print takes no profile", "profiles are for: collect, pcap"),
        (["-p", "nosuch", "collect"], "there is no profile nosuch", "`fyke profile list` lists them"),
        (["-p", "droppmon", "collect"], "there is no profile droppmon", "did you mean dropmon?"),
        (["-p", "mine", "-P", "/nowhere", "collect"], "there is no folder /nowhere of profiles", ""),
        (["collect", "--profile", "mine"], "--profile stands before the command", "write: fyke --profile"),
        (["-p", "mine", "collect", "--nope"], "fyke collect has no option --nope", "see: "),
        (["-p", ",", "collect"], "the name of a profile is empty", ""),
        (["-p", "tcp", "pcap"], "the profile tcp has nothing for fyke pcap", "it is for fyke collect"),
    ],
)
def test_wrong_profiles(
    words: list[str], message: str, hint: str, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys, *words)
    assert (code, out) == (2, "")
    assert f"error: {message}" in err
    assert f"hint: {hint}" in err or not hint


def test_what_profiles_set_reaches_the_command(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    got = []
    monkeypatch.setattr(collect, "run", lambda args: got.append(args) or 0)
    code, _, err = run(capsys, "-p", "mine", "-p", "dropmon", "coll", "--snaplen", "9", "-p", "x")
    assert (code, err) == (0, "Applying profile mine\nApplying profile dropmon\n")
    (args,) = got
    assert (args.probe, args.snaplen, args.stack) == (["net:netif_rx", "ip_rcv", "x"], 9, True)
    assert args.expanded == ["--probe", "net:netif_rx", "--probe", "ip_rcv", "--stack"]
    assert run(capsys, "--log-level", "error", "-p", "mine", "collect")[2] == ""


def test_a_profile_named_behind_the_command_is_pointed_out(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(options: Options, *_: object) -> None:
        raise Unsupported(f"can't probe function {options.probes[-1]}: no such", "look elsewhere")

    monkeypatch.setattr("fyke.capture.plan.make_plan", refuse)
    for name, hint in (("mine", "the profile is: fyke -p mine collect"), ("mines", "look elsewhere")):
        code, _, err = run(capsys, "collect", "-p", "ip_rcv", "-p", name)
        assert (code, err) == (2, f"error: can't probe function {name}: no such\nhint: {hint}\n")
