"""User programs: their functions and USDT probes, and where arguments are."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
from elf_writer import CODE, CODE_AT, DATA, DATA_AT, FUNCTION, IFUNC, OBJECT, SIZE, Program, note
from hypothesis import given, settings
from hypothesis import strategies as st

from fyke.kernel.binaries.elf_file import BadBinary, ElfFile, Symbol
from fyke.kernel.binaries.operands import Operand, parse_operands
from fyke.kernel.binaries.running import MappedFile, mapped_files
from fyke.kernel.binaries.sdt import UsdtNote, read_notes

AX, CX, DX, SI, DI, IP, SP, R8, BP = 80, 88, 96, 104, 112, 128, 152, 72, 32
FULL = Program(
    functions={"main": (CODE + 16, FUNCTION), "pick": (CODE + 32, IFUNC), "total": (DATA + 8, OBJECT)},
    imported=("puts",),
    notes=note("p", "one", CODE + 4, "-4@%edi", DATA + 2) + note("p", "two", CODE + 9),
)


def opened(folder: Path, image: bytes) -> ElfFile:
    path = folder / "program"
    path.write_bytes(image)
    return ElfFile(str(path))


def test_what_is_in_a_program(tmp_path: Path) -> None:
    elf = opened(tmp_path, FULL.image())
    assert elf.machine == "x86_64"
    assert elf.functions == {
        "main": (Symbol("main", CODE + 16),),
        "pick": (Symbol("pick", CODE + 32, chosen=True),),
    }
    assert list(elf.variables) == ["total"]
    assert "puts" in elf.imported
    assert not elf.is_stripped
    assert opened(tmp_path, Program(stripped=True).image()).is_stripped
    assert read_notes(elf) == [
        UsdtNote("p", "one", CODE + 4, DATA + 2, "-4@%edi"),
        UsdtNote("p", "two", CODE + 9, 0, ""),
    ]


def test_addresses_and_places_in_the_file(tmp_path: Path) -> None:
    elf = opened(tmp_path, FULL.image())
    assert elf.offset_of(CODE + 5, executable=True) == CODE_AT + 5
    assert elf.offset_of(DATA + 5, executable=False) == DATA_AT + 5
    assert elf.offset_of(CODE + 5, executable=False) is None
    assert elf.offset_of(CODE + SIZE, executable=True) is None
    assert elf.offset_of(CODE - 1, executable=True) is None


def test_a_program_that_was_moved_after_the_notes_were_written(tmp_path: Path) -> None:
    moved = Program(notes=note("p", "one", CODE, "", DATA, base=0x402000), base=0x412000)
    (found,) = read_notes(opened(tmp_path, moved.image()))
    assert (found.address, found.semaphore) == (CODE + 0x10000, DATA + 0x10000)


def test_notes_of_others_are_left_alone(tmp_path: Path) -> None:
    other = note("p", "x", CODE).replace(b"stapsdt", b"elsewhr") + note("p", "y", CODE)
    assert [n.name for n in read_notes(opened(tmp_path, Program(notes=other).image()))] == ["y"]


@pytest.mark.parametrize(
    ("image", "why"),
    [
        (b"", "no ELF file"),
        (b"#!/bin/sh\n".ljust(100), "no ELF file"),
        (b"\x7fELF\x01\x01".ljust(100, b"\0"), "64-bit"),
        (Program(kind=1).image(), "neither a program nor a library"),
    ],
)
def test_what_is_no_program(image: bytes, why: str, tmp_path: Path) -> None:
    with pytest.raises(BadBinary, match=why):
        opened(tmp_path, image)


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(BadBinary, match="no file that can be run"):
        ElfFile(str(tmp_path))
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(BadBinary, match="no file that can be run"):
        ElfFile(str(tmp_path / "fifo"))


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 1 << 16), st.binary(min_size=1, max_size=8)), max_size=4),
    st.integers(0),
)
def test_a_damaged_program_is_said_to_be_so(
    tmp_path_factory: pytest.TempPathFactory, damage: list[tuple[int, bytes]], cut: int
) -> None:
    image = bytearray(FULL.image())
    for at, data in damage:
        at %= len(image)
        image[at : at + len(data)] = data
    try:
        elf = opened(tmp_path_factory.getbasetemp(), bytes(image[: len(image) - cut % 300]))
        read_notes(elf)
        assert all(isinstance(name, str) for name in (*elf.functions, *elf.variables, *elf.imported))
    except BadBinary:
        pass


def test_a_real_library() -> None:
    """This process' own C library, held against the loader."""
    import ctypes

    (libc,) = [m for m in mapped_files("libc.so.6") if m.pid == os.getpid()] or mapped_files("libc.so.6")[:1]
    elf = ElfFile(libc.file)
    here = {
        name: ctypes.cast(getattr(ctypes.CDLL(None), name), ctypes.c_void_p).value or 0
        for name in ("getppid", "atoi")
    }
    (getppid,), (atoi,) = elf.functions["getppid"], elf.functions["atoi"]
    assert here["getppid"] - here["atoi"] == getppid.address - atoi.address
    assert any(version.chosen for version in elf.functions["memcpy"])


OPERANDS = [
    ("-4@%edi", Operand(4, True, base=DI)),
    ("1@%al", Operand(1, False, base=AX)),
    ("2@%r8w", Operand(2, False, base=R8)),
    ("1@%sil", Operand(1, False, base=SI)),
    ("8@%rbp", Operand(8, False, base=BP)),
    ("-8@$-5", Operand(8, True, add=-5)),
    ("4@$0x10", Operand(4, False, add=16)),
    ("%rdx", Operand(8, False, base=DX)),
    ("-4@-20(%rbp)", Operand(4, True, True, BP, add=-20)),
    ("4@(%rsp)", Operand(4, False, True, SP)),
    ("8@0x10(%rsp)", Operand(8, False, True, SP, add=16)),
    ("-2@4(%rax,%rcx,8)", Operand(2, True, True, AX, CX, 3, 4)),
    ("4@(,%rcx,4)", Operand(4, False, True, None, CX, 2)),
    ("8@total(%rip)", Operand(8, False, True, IP, add=0x100)),
    ("8@total+8(%rip)", Operand(8, False, True, IP, add=0x108)),
    ("-8@8+total(%rip)", Operand(8, True, True, IP, add=0x108)),
    ("4@total(,%rcx,4)", Operand(4, False, True, IP, CX, 2, 0x100)),
    ("4@total-4(%rax)", Operand(4, False, True, IP, AX, 0, 0xFC)),
    # Out of reach.
    ("8f@%xmm0", None),
    ("8@unknown(%rip)", None),
    ("8@total(%rax,%rcx,4)", None),
    ("8@%st(0)", None),
    ("8@%fs:0(%rax)", None),
    ("16@%rax", None),
    ("8@%ah", None),
]
ARM = [
    ("-4@w0", Operand(4, True, base=0)),
    ("8@x30", Operand(8, False, base=240)),
    ("8@sp", Operand(8, False, base=248)),
    ("-4@5", Operand(4, True, add=5)),
    ("8@[sp, 24]", Operand(8, False, True, 248, add=24)),
    ("-4@[x29, -4]", Operand(4, True, True, 232, add=-4)),
    ("8@[x0]", Operand(8, False, True, 0)),
    ("4@[x0, x1, lsl 2]", Operand(4, False, True, 0, 8, 2)),
    ("8f@d0", None),
    ("8@[x31]", None),
]


def _distance(name: str) -> int | None:
    return 0x100 if name == "total" else None


@pytest.mark.parametrize(
    ("machine", "text", "operand"),
    [*(("x86_64", *row) for row in OPERANDS), *(("aarch64", *row) for row in ARM)],
)
def test_an_argument(machine: str, text: str, operand: Operand | None) -> None:
    assert parse_operands(text, machine, _distance) == (operand,)


def test_several_arguments() -> None:
    for machine, rows in (("x86_64", OPERANDS), ("aarch64", ARM)):
        text = " ".join(text for text, _ in rows)
        assert parse_operands(text, machine, _distance) == tuple(operand for _, operand in rows)
    assert parse_operands("", "x86_64", _distance) == ()


PIECES = (
    "-4@",
    "8@",
    "f",
    "@",
    "%",
    "$",
    "(",
    ")",
    ",",
    "[",
    "]",
    "eax",
    "rip",
    "x1",
    "sp",
    "+",
    "-",
    "1",
    " ",
)


@given(st.lists(st.sampled_from(PIECES)))
def test_any_text_is_some_arguments(pieces: list[str]) -> None:
    for machine in ("x86_64", "aarch64"):
        for operand in parse_operands("".join(pieces), machine, _distance):
            assert operand is None or operand.size in (1, 2, 4, 8)


def _process(proc: Path, pid: int, *lines: str) -> Path:
    folder = proc / str(pid)
    folder.mkdir(parents=True)
    (folder / "maps").write_text("".join(f"{line}\n" for line in lines))
    return folder


def test_files_that_processes_run(tmp_path: Path) -> None:
    """One entry a file, wherever it is mounted; one that was replaced is found through the mapping."""
    for pid, text in ((7, "a"), (8, "b")):
        root = tmp_path / str(pid) / "root" / "usr" / "sbin"
        root.mkdir(parents=True)
        (root / "app").write_text(text)
    for folder in ("9/root/usr", "10/map_files"):
        (tmp_path / folder).mkdir(parents=True)
    os.link(tmp_path / "7/root/usr/sbin/app", tmp_path / "9/root/usr/app")
    (tmp_path / "10/map_files/5000-6000").write_text("old")
    code = "1000-2000 r-xp 00001000 fe:00 {} {}"
    data = "3000-4000 rw-p 00001000 fe:00 11   /usr/sbin/other"
    for pid, line in (
        (7, code.format(11, "/usr/sbin/app")),
        (8, code.format(11, "/usr/sbin/app")),
        (9, code.format(11, "/usr/app")),
        (10, "5000-6000 r-xp 00001000 fe:00 77 /usr/sbin/app (deleted)"),
    ):
        (tmp_path / str(pid) / "maps").write_text(f"{line}\n{data}\n7000-8000 r-xp 00000000 00:00 0 [vdso]\n")
    (tmp_path / "self").mkdir()
    (tmp_path / "11").mkdir()  # it has just ended
    assert mapped_files("app", tmp_path) == [
        MappedFile("/usr/sbin/app", str(tmp_path / "7/root/usr/sbin/app"), 7),
        MappedFile("/usr/sbin/app", str(tmp_path / "8/root/usr/sbin/app"), 8),
        MappedFile("/usr/sbin/app", str(tmp_path / "10/map_files/5000-6000"), 10),
    ]
    assert mapped_files("other", tmp_path) == []
    assert mapped_files("pp", tmp_path) == []


def test_this_process_is_among_them() -> None:
    name = Path(os.path.realpath(sys.executable)).name
    assert any(os.path.samefile(m.file, sys.executable) for m in mapped_files(name))
    assert shutil.which("sh")
