"""Open vSwitch's daemons: which are followed, which aren't and why, and those that come later."""

from __future__ import annotations

import logging
import platform
from pathlib import Path

import pytest
from elf_writer import CODE, CODE_AT, Program, note
from made_plan import refused

from fyke.capture.ovs_user import Daemons, DaemonWatch
from fyke.capture.planned import PlannedProbe
from fyke.collectors.ovs.user import MOST_PLACES, PROBES
from fyke.errors import RunError
from fyke.kernel.binaries.running import Appearing

MACHINE = {"x86_64": 62, "aarch64": 183}[platform.machine()]
RECV, PUT, EXEC = (probe.symbol for probe in PROBES)
ARGUMENTS = {RECV: "8@1 4@2 8@3 4@4 8@5 8@6", PUT: "8@1 8@2 8@3 8@4", EXEC: "8@1 8@2 8@3 4@4 8@5"}


def _program(**arguments: str) -> bytes:
    """Return a program with the probes. arguments: others than the usual, by name without provider."""
    notes = b""
    for n, (symbol, usual) in enumerate(ARGUMENTS.items()):
        provider, name = symbol.split(":")
        notes += note(provider, name, CODE + 8 * n, arguments.get(name, usual))
    return Program(machine=MACHINE, notes=notes).image()


def _process(
    proc: Path, pid: int, program: Path, comm: str = "ovs-vswitchd", maps: tuple[str, ...] = ()
) -> Path:
    folder = proc / str(pid)
    folder.mkdir(parents=True)
    (folder / "comm").write_text(f"{comm}\n")
    (folder / "exe").symlink_to(program)
    (folder / "root").symlink_to("/")
    lines = (f"{n}000-{n}fff r-xp 00001000 fe:00 {n} {path}" for n, path in enumerate(maps, 1))
    (folder / "maps").write_text("".join(f"{line}\n" for line in lines))
    return folder


def _file(path: Path, image: bytes) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(image)
    return path


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    folder = tmp_path / "proc"
    folder.mkdir()
    (folder / "self").mkdir()
    return folder


def test_processes_are_noticed_once(proc: Path) -> None:
    program = _file(proc.parent / "ovs-vswitchd", b"")
    appearing = Appearing("ovs-vswitchd", proc)
    assert appearing.look() == []
    _process(proc, 7, program)
    early = _process(proc, 8, program, comm="sh")
    assert appearing.look() == [7]
    (early / "comm").write_text("ovs-vswitchd\n")
    assert appearing.look() == [8]
    assert appearing.look() == []
    # A number may be another process' later.
    (proc / "7" / "comm").unlink()
    (proc / "7").rename(proc.parent / "gone")
    assert appearing.look() == []
    (proc.parent / "gone").rename(proc / "7")
    (proc / "7" / "comm").write_text("ovs-vswitchd\n")
    assert appearing.look() == [7]


def test_files_are_followed_once_each(proc: Path) -> None:
    """Two processes of one build, and one of another."""
    one, other = (_file(proc.parent / name / "ovs-vswitchd", _program()) for name in "ab")
    for pid, program in ((7, one), (8, one), (9, other)):
        _process(proc, pid, program)
    _process(proc, 10, one, comm="ovs-vsctl")
    daemons = Daemons(platform.machine(), proc)
    found = list(daemons.look())
    assert len(found) == 2
    assert not daemons.refused
    for program, file_id in zip((one, other), found, strict=True):
        places = {probe.symbol: place for probe, place in daemons.followed[file_id]}
        assert list(places) == [RECV, PUT, EXEC]
        assert {place.path for place in places.values()} == {str(program)}
        assert [place.offset for place in places.values()] == [CODE_AT, CODE_AT + 8, CODE_AT + 16]
    assert list(daemons.look()) == []


def test_probes_may_be_in_a_library(proc: Path) -> None:
    program = _file(proc.parent / "ovs-vswitchd", Program(machine=MACHINE).image())
    library = _file(proc.parent / "libopenvswitch-3.1.so.0.0.7", _program())
    _process(proc, 7, program, maps=("/usr/lib/libc.so.6", str(program), str(library)))
    daemons = Daemons(platform.machine(), proc)
    (file_id,) = daemons.look()
    assert {place.path for _, place in daemons.followed[file_id]} == {str(library)}


@pytest.mark.parametrize(
    ("image", "why"),
    [
        (Program(machine=MACHINE).image(), "{} has no USDT probes: it was built without them"),
        (_program(recv_upcall="8@1 4@2 8@3 4@4 8@5"), f"the arguments of {RECV} are out of reach"),
        (_program(op_flow_put="8@1 8f@%xmm0"), f"the arguments of {PUT} are out of reach"),
        (b"#!/bin/sh\n".ljust(80), "{} can't be probed: it is no ELF file"),
    ],
)
def test_a_build_that_cannot_be_followed(image: bytes, why: str, proc: Path) -> None:
    program = _file(proc.parent / "ovs-vswitchd", image)
    _process(proc, 7, program)
    daemons = Daemons(platform.machine(), proc)
    (file_id,) = daemons.look()
    reason = f"packets can't be followed through {program}: {why.format(program)}"
    assert daemons.refused == {file_id: reason}
    assert list(daemons.look()) == []


class _Added:
    """Takes probes, or refuses them."""

    def __init__(self, why: str = "") -> None:
        self.probes: list[PlannedProbe] = []
        self.why = why

    def __call__(self, probe: PlannedProbe) -> None:
        if self.why:
            raise RunError(self.why)
        self.probes.append(probe)


def test_one_that_comes_later(proc: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    _process(proc, 7, _file(proc.parent / "ovs-vswitchd", _program()))
    before = Daemons(platform.machine(), proc)
    list(before.look())
    added = _Added()
    watch = DaemonWatch(Daemons(platform.machine(), proc, before.known), added)
    watch.look()
    assert added.probes == []
    _process(proc, 8, _file(proc.parent / "b" / "ovs-vswitchd", _program()))
    watch.look()
    assert [(p.symbol, p.mechanism, p.user and p.user.offset) for p in added.probes] == [
        (RECV, "usdt", CODE_AT),
        (PUT, "usdt", CODE_AT + 8),
        (EXEC, "usdt", CODE_AT + 16),
    ]
    assert [p.program for p in added.probes] == ["ovs_usdt"] * 3
    assert "b/ovs-vswitchd was started; packets are followed through it" in caplog.text
    _process(proc, 9, _file(proc.parent / "c" / "ovs-vswitchd", Program(machine=MACHINE).image()))
    watch.look()
    assert "it was built without them" in caplog.text
    assert len(added.probes) == 3


def test_there_is_room_for_many_builds_not_for_any_number(
    proc: Path, caplog: pytest.LogCaptureFixture
) -> None:
    added = _Added()
    for n in range(MOST_PLACES // 3 + 1):
        _process(proc, 10 + n, _file(proc.parent / str(n) / "ovs-vswitchd", _program()))
    DaemonWatch(Daemons(platform.machine(), proc), added).look()
    assert len(added.probes) == MOST_PLACES // 3 * 3
    assert "too many different builds" in caplog.text


def test_a_kernel_without_the_module() -> None:
    error = refused(collectors=("skb",), ovs_track=True)
    assert error.message == "--ovs-track can't work here: the module openvswitch is not loaded"


def test_one_that_cannot_be_attached_to(proc: Path, caplog: pytest.LogCaptureFixture) -> None:
    _process(proc, 7, _file(proc.parent / "ovs-vswitchd", _program()))
    DaemonWatch(Daemons(platform.machine(), proc), _Added("no room")).look()
    assert "ovs-vswitchd: no room" in caplog.text
