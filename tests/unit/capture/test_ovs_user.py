"""Open vSwitch's daemons: which are followed, which aren't and why, and those that come later."""

from __future__ import annotations

import logging
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from elf_writer import CODE, CODE_AT, Program, note
from made_kernel import made_kernel
from made_plan import refused

from fyke.capture.ovs_functions import HINT, cache_folder, function_places
from fyke.capture.ovs_user import Daemons, DaemonWatch, daemon_probes, no_functions
from fyke.capture.planned import PlannedProbe, UserPlace
from fyke.capture.user_probes import Program as UserProgram
from fyke.collectors.ovs.user import MOST_PLACES, PROBES
from fyke.errors import RunError
from fyke.kernel.binaries.debug_files import NoDebugFile, NoDebugInfo
from fyke.kernel.binaries.elf_file import ElfFile
from fyke.kernel.binaries.operands import PARAMETERS
from fyke.kernel.binaries.running import Appearing

MACHINE = {"x86_64": 62, "aarch64": 183}[platform.machine()]
LIVE = Path(__file__).parents[2] / "live"
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
        (
            Program(machine=MACHINE).image(),
            "it was built without USDT probes, and its functions can't be found: there is no debug "
            f"information, neither in it nor in another file, as it has no build id ({HINT})",
        ),
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


@pytest.fixture(scope="module")
def functions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a program that has the daemon's functions, and debug information."""
    if not shutil.which("gcc"):
        pytest.skip("gcc is missing")
    made = tmp_path_factory.mktemp("functions") / "ovs-vswitchd"
    sources = ("upcalls.c", "lib/dpif.c", "lib/dpif-netlink.c")
    command = ["gcc", "-g", "-O2", "-DFUNCTIONS", "-Wl,--build-id", "-o", str(made), *sources]
    subprocess.run(command, check=True, cwd=LIVE)
    return made


def _places(program: Path, cache: Path) -> list[tuple[str, UserPlace]]:
    found = function_places(UserProgram(str(program), str(program)), platform.machine(), cache)
    return [(probe.symbol, place) for probe, place in found]


def test_one_without_probes_is_followed_by_its_functions(functions: Path, proc: Path) -> None:
    elf = ElfFile(str(functions))
    _process(proc, 7, functions)
    daemons = Daemons(platform.machine(), proc, cache=proc.parent)
    (file_id,) = daemons.look()
    assert not daemons.refused
    planned = daemon_probes(daemons.followed[file_id])
    assert [(p.symbol, p.mechanism, p.program) for p in planned[:2]] == [
        ("dpif_print_packet", "uprobe", "ovs_usdt"),
        ("dpif_netlink_operate", "uprobe", "ovs_operations"),
    ]
    for probe in planned[:2]:
        (symbol,) = elf.functions[probe.symbol]
        assert probe.user is not None
        assert probe.user.offset == elf.offset_of(symbol.address, executable=True)
    why = "the kernel has no bpf_loop(), Linux 5.17 and newer have"
    older = Daemons(platform.machine(), proc, no_functions=why, cache=proc.parent)
    list(older.look())
    assert older.refused[file_id].endswith(f"and its functions can't be found: {why}")


def test_arguments_are_where_its_structs_have_them(functions: Path, tmp_path: Path) -> None:
    """Offsets as lib/dpif.h has the members: 64-bit, in the order of its source."""
    recv, operate = (place.arguments for _, place in _places(functions, tmp_path))
    assert [a and (a.size, a.memory, a.add) for a in recv] == [
        None,
        *((4, True, 0), (8, True, 16), (4, True, 28), (8, True, 32), (8, True, 40), (2, True, 26)),
    ]
    registers = PARAMETERS[platform.machine()]
    assert {a.base for a in recv if a} == {registers[1]}
    assert [a and a.base for a in operate[:2]] == [registers[1], registers[2]]
    # type of a flow, of a packet; of dpif_op: type, key, its length, packet; of dp_packet: base, data, size
    assert [a and a.add for a in operate[2:]] == [1, 3, 0, 8 + 16, 8 + 24, 8 + 16, 8, 18, 20]


def test_what_was_found_is_kept_for_the_build(functions: Path, tmp_path: Path) -> None:
    found = _places(functions, tmp_path)
    (kept,) = tmp_path.iterdir()
    assert kept.name == f"{ElfFile(str(functions)).build_id}.json"
    bare = tmp_path / "bare"
    subprocess.run(["strip", "-o", str(bare), str(functions)], check=True)
    again = [
        (symbol, replace(place, path=str(functions), file=str(functions)))
        for symbol, place in _places(bare, tmp_path)
    ]
    assert again == found
    for damage in ("", "{}", '{"format": 1, "functions": [1, 2]}', '{"format": 9, "functions": []}'):
        kept.write_text(damage)
        with pytest.raises(NoDebugFile):
            _places(bare, tmp_path)
    assert _places(functions, tmp_path) == found


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        (
            "-Ddpif_netlink_operate=other",
            "dpif_netlink_operate of lib/dpif-netlink.c is inlined or isn't there",
        ),
        ("-Dkey_len=length", "struct dpif_upcall has no member key_len there"),
        (
            "-DDPIF_OP_EXECUTE=DPIF_OP_OTHER",
            "its debug information of lib/dpif-netlink.c has no DPIF_OP_EXECUTE",
        ),
    ],
)
def test_a_build_of_another_kind_is_refused_with_what_is_missing(
    changed: str, why: str, tmp_path: Path
) -> None:
    made = tmp_path / "ovs-vswitchd"
    sources = ("upcalls.c", "lib/dpif.c", "lib/dpif-netlink.c")
    if not shutil.which("gcc"):
        pytest.skip("gcc is missing")
    subprocess.run(
        ["gcc", "-g", "-O2", "-DFUNCTIONS", changed, "-o", str(made), *sources], check=True, cwd=LIVE
    )
    with pytest.raises(NoDebugInfo) as error:
        _places(made, tmp_path)
    assert why in str(error.value)


def test_without_the_library_it_says_so(
    functions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "elftools.elf.elffile", None)
    with pytest.raises(NoDebugInfo, match=r"can't be read: .*elftools.* \(pip install 'fyke\[debug\]'\)"):
        _places(functions, tmp_path)


def test_kernels_that_have_what_it_needs() -> None:
    assert no_functions(made_kernel()).startswith("the kernel has no bpf_loop()")


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
    assert "it was built without USDT probes" in caplog.text
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


def test_a_user_without_a_home_keeps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0xFFFFFFF0)
    assert cache_folder() is None
