"""Probes in user programs: which places are meant, what is wrong with others, and what events become."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from elf_writer import CODE, CODE_AT, DATA, DATA_AT, FUNCTION, IFUNC, OBJECT, Program, note
from made_kernel import ALL, made_kernel
from made_plan import planned, refused
from made_records import headers_btf, records

from fyke.capture.decode import Decoder
from fyke.capture.filters import FilterOptions
from fyke.capture.layout import read_layout, struct_dtype
from fyke.capture.plan import Plan
from fyke.capture.planned import UserPlace
from fyke.capture.user_probes import place_config
from fyke.kernel.binaries.operands import Operand

KERNEL = made_kernel((*ALL, "uprobe"))
MACHINE = {"x86_64": 62, "aarch64": 183}[platform.machine()]
OTHER = 183 if MACHINE == 62 else 62
FULL = Program(
    functions={
        "main": (CODE + 16, FUNCTION),
        "maintain": (CODE + 20, FUNCTION),
        "pick": (CODE + 32, IFUNC),
        "pick_fast": (CODE + 36, FUNCTION),
        "total": (DATA + 8, OBJECT),
    },
    imported=("puts",),
    machine=MACHINE,
    # Constants: the same on every machine.
    notes=note("p", "one", CODE + 4, "-4@-7 8f@1 8@5000000000", DATA + 2)
    + note("p", "one", CODE + 40)
    + note("p", "two", CODE + 9),
)


def _plan(program: Program, target: str, folder: Path, kind: str = "u", **options: Any) -> Plan:
    path = folder / "app"
    path.write_bytes(program.image())
    probes = (f"{kind}:{path}:{target}", "net:netif_receive_skb")
    return planned(KERNEL, probes=probes, collectors=("dev",), **options)


def _places(plan: Plan) -> list[tuple[str, UserPlace]]:
    return [(p.symbol, p.user) for p in plan.probes if p.user]


def test_a_function(tmp_path: Path) -> None:
    plan = _plan(FULL, "main", tmp_path)
    path = str(tmp_path / "app")
    assert _places(plan) == [("main", UserPlace(path, path, CODE_AT + 16))]
    assert plan.sections[0] == "userspace"
    assert "arguments" not in plan.sections
    assert [name for name, _ in _places(_plan(FULL, "ma*", tmp_path))] == ["main", "maintain"]


def test_a_usdt_probe_in_two_places(tmp_path: Path) -> None:
    """One with arguments and a semaphore; the argument in a floating-point register is told of."""
    plan = _plan(FULL, "p:one", tmp_path, "usdt")
    path = str(tmp_path / "app")
    arguments = (Operand(4, True, add=-7), None, Operand(8, False, add=5_000_000_000))
    assert _places(plan) == [
        ("p:one", UserPlace(path, path, CODE_AT + 4, DATA_AT + 2, arguments)),
        ("p:one", UserPlace(path, path, CODE_AT + 40)),
    ]
    assert [sorted(p.sections) for p in plan.probes if p.user] == [["arguments", "userspace"], ["userspace"]]
    assert any(text.startswith("p:one: argument 1 (counted from 0) can't be read") for text in plan.notes)
    assert [name for name, _ in _places(_plan(FULL, "*:*", tmp_path, "usdt"))] == ["p:one", "p:one", "p:two"]


@pytest.mark.parametrize(
    ("program", "target", "kind", "message", "hint"),
    [
        (FULL, "mian", "u", "there is no function mian in {}", "near: main"),
        (FULL, "zz*", "u", "nothing matches zz* in {}", ""),
        (FULL, "puts", "u", "puts isn't in {}, which takes it from a library", "u:LIBRARY:puts"),
        (FULL, "pick", "u", "pick of {} isn't one function: ", "near: pick_fast"),
        (
            Program(machine=MACHINE, stripped=True),
            "f",
            "u",
            "which is stripped: only what others may call",
            "",
        ),
        (Program(machine=MACHINE), "p:one", "usdt", "{} has no USDT probes: it was built without", "u:PATH:"),
        (FULL, "p:on", "usdt", "there is no USDT probe p:on in {}", "near: p:one"),
        (FULL, "q:*", "usdt", "no USDT probe matches q:* in {}", ""),
        (Program(machine=OTHER), "f", "u", "{} can't be probed: it is for ", ""),
        (Program(kind=1), "f", "u", "{} can't be probed: it is neither a program nor", ""),
    ],
)
def test_mistakes(program: Program, target: str, kind: str, message: str, hint: str, tmp_path: Path) -> None:
    path = tmp_path / "app"
    path.write_bytes(program.image())
    error = refused(KERNEL, probes=(f"{kind}:{path}:{target}",), collectors=("dev",))
    assert message.format(path) in error.message
    assert hint in error.hint


def test_a_stripped_program_and_its_debug_information(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    build_id = bytes(range(20))
    debug = tmp_path / ".build-id" / "00" / f"{build_id.hex()[2:]}.debug"
    debug.parent.mkdir(parents=True)
    stripped = Program(machine=MACHINE, stripped=True, build_id=build_id)
    monkeypatch.setattr("fyke.capture.user_probes.DEBUG", str(tmp_path))
    full = {"hidden": (CODE + 8, FUNCTION)}
    debug.write_bytes(Program(functions=full, machine=MACHINE, build_id=build_id).image())
    (found,) = _places(_plan(stripped, "hidden", tmp_path))
    assert (found[0], found[1].offset) == ("hidden", CODE_AT + 8)
    # Of another build.
    debug.write_bytes(Program(functions=full, machine=MACHINE, build_id=bytes(20)).image())
    error = refused(KERNEL, probes=(f"u:{tmp_path}/app:hidden",), collectors=("dev",))
    assert "which is stripped" in error.message


def test_no_such_program(tmp_path: Path) -> None:
    error = refused(KERNEL, probes=(f"u:{tmp_path}/nothing:main",))
    assert error.message == f"{tmp_path}/nothing can't be read: No such file or directory"
    error = refused(KERNEL, probes=("u:no-such-program-here:main",))
    assert error.message.startswith("there is no program no-such-program-here: it isn't in PATH")
    error = refused(KERNEL, probes=(f"u:{tmp_path}:main",))
    assert error.message == f"{tmp_path} can't be probed: it is no file that can be run"


def test_a_kernel_without_uprobes() -> None:
    error = refused(made_kernel(), probes=("u:/bin/sh:main",))
    assert error.message.startswith("can't probe u:/bin/sh:main: no uprobes here")


def test_only_pid_filters_them(tmp_path: Path) -> None:
    plan = _plan(FULL, "main", tmp_path, filters=FilterOptions(packet="icmp"))
    assert "no filter but --pid applies at main: user programs have no packet there" in plan.notes
    assert plan.user_task is None


def test_what_the_program_is_told_of_arguments() -> None:
    """As the C struct has it."""
    btf = headers_btf()
    arguments = (Operand(4, True, True, 80, 88, 3, -20), None, Operand(8, False, add=1 << 63))
    raw = place_config(UserPlace("", "", 0, 0, arguments), btf)
    rows = np.frombuffer(raw, struct_dtype(btf, "user_argument"))
    assert len(rows) == 12
    fields = ("add", "base_at", "index_at", "shift", "bytes", "memory", "is_signed")
    assert [[int(row[f]) for f in fields] for row in rows[:3]] == [
        [(1 << 64) - 20, 80, 88, 3, 4, 1, 1],
        [0, 0, 0, 0, 0, 0, 0],
        [1 << 63, -1, -1, 0, 8, 0, 0],
    ]


class _Names:
    def __getattr__(self, _name: str) -> Any:
        raise AssertionError("nothing of a user program is named by the kernel")


def test_events(tmp_path: Path) -> None:
    """A packet's event between two of a program: each has what it is of, and no remains of others."""
    plan = _plan(FULL, "p:*", tmp_path, "usdt")
    layout = read_layout(headers_btf(), plan.sections, 20)
    numbers = {(p.symbol, bool(p.user and p.user.arguments)): n for n, p in enumerate(plan.probes) if p.user}
    other = next(n for n, p in enumerate(plan.probes) if not p.user)
    values = [(1 << 64) - 7, 5, 5_000_000_000] + [9] * 9
    rows = [
        {
            "probe": numbers["p:one", True],
            "pid": 8,
            "tgid": 7,
            "userspace": {"ip": 1 << 40},
            "arguments": {"unread": 0b111111111010, "values": values},
        },
        {"probe": other, "pid": 1, "tgid": 1, "dev": {"name": b"veth0", "ifindex": 2}},
        {"probe": numbers["p:two", False], "pid": 9, "tgid": 9, "userspace": {"ip": 5}},
    ]
    batch = Decoder(plan, layout, _Names()).batch(records(layout, rows, 0xA5))
    batch.validate(full=True)
    one, packet, two = batch.to_pylist()
    user = {"probe_type": "usdt", "path": str(tmp_path / "app")}
    assert one["userspace"] == user | {"symbol": "p:one", "ip": 1 << 40, "pid": 7, "tid": 8}
    assert one["arguments"] == {"values": ["-7", "?", hex(5_000_000_000)]}
    assert one["kernel"] is None
    assert two["userspace"] == user | {"symbol": "p:two", "ip": 5, "pid": 9, "tid": 9}
    assert two["arguments"] is None
    assert packet["kernel"]["symbol"] == plan.probes[other].symbol
    assert packet["userspace"] is None
    assert packet["arguments"] is None
    assert batch["userspace"].field("symbol").to_pylist() == ["p:one", None, "p:two"]
    assert batch["userspace"].field("ip").to_pylist() == [1 << 40, 0, 5]
    assert batch["kernel"].field("symbol").to_pylist() == [None, packet["kernel"]["symbol"], None]
