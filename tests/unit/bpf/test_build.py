"""The BPF objects are made when a source is newer, and what is missing is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from fyke.bpf import build


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that are run instead of clang and llvm-strip, with the objects in a folder of the test."""
    made: list[list[str]] = []
    monkeypatch.setattr(build, "object_path", lambda machine: tmp_path / "objects" / f"{machine}.o")
    monkeypatch.setattr(build, "find_tools", lambda: ("clang", "llvm-strip"))
    return made


def record(calls: list[list[str]], command: list[str]) -> None:
    calls.append(command)
    if command[0] == "clang":
        Path(command[command.index("-o") + 1]).write_text("object")


def test_each_architecture_gets_an_object(calls: list[list[str]]) -> None:
    made = build.build(run=lambda command: record(calls, command))
    assert [path.name for path in made] == ["x86_64.o", "aarch64.o"]
    assert all(path.read_text() == "object" for path in made)
    targets = [part for command in calls for part in command if part.startswith("-D__TARGET_ARCH_")]
    assert targets == ["-D__TARGET_ARCH_x86", "-D__TARGET_ARCH_arm64"]
    assert [command[:2] for command in calls if command[0] != "clang"] == [["llvm-strip", "-g"]] * 2
    assert sorted(path.name for path in made[0].parent.iterdir()) == ["aarch64.o", "x86_64.o"]


def test_what_is_up_to_date_is_left_alone(calls: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    build.build(run=lambda command: record(calls, command))
    calls.clear()
    assert build.build(run=lambda command: record(calls, command)) == []
    assert calls == []
    assert len(build.build(force=True, run=lambda command: record(calls, command))) == 2
    newer = build.object_path("x86_64").with_name("newer.bpf.h")
    newer.write_text("")
    monkeypatch.setattr(build, "sources", lambda: [newer])
    assert len(build.build(run=lambda command: record(calls, command))) == 2


def test_a_failing_compiler_leaves_no_half_object(calls: list[list[str]], tmp_path: Path) -> None:
    def fail(command: list[str]) -> None:
        record(calls, command)
        raise build.BuildError("no")

    with pytest.raises(build.BuildError):
        build.build(run=fail)
    assert list((tmp_path / "objects").iterdir()) == []


def test_a_missing_compiler_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("CLANG", raising=False)
    with pytest.raises(build.BuildError, match="apt install clang"):
        build.find_tools()


def test_every_source_is_known() -> None:
    names = {path.name for path in build.sources()}
    assert {"build.py", "fyke.bpf.c", "record.bpf.h", "dev.bpf.h"} <= names
