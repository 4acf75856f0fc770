"""The loaded programs as the kernel describes them: kinds, whole names, and why one can't be attached to."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from btf_writer import BtfWriter

from fyke.kernel import syscall_bpf
from fyke.kernel.bpf_programs import BpfProgram, loaded_programs
from fyke.kernel.syscall_bpf import ProgramFacts

XDP, CLS, ACT, EXT, KPROBE = 6, 3, 4, 28, 2


def types(context: str, arguments: int = 1) -> tuple[bytes, int]:
    """Return types with a function that takes a context, and others, and the function's number."""
    writer = BtfWriter()
    number = writer.int("int", signed=True)
    pointer = writer.pointer(writer.struct(context, 8) if context else 0)
    params = [("ctx", pointer), *(("", number) for _ in range(arguments - 1))]
    function = writer.func("a_name_that_is_longer", writer.proto(number, *params))
    return writer.blob(), function


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[BpfProgram]]:
    """What is found when one program is loaded, a descriptor of which is really opened."""

    def found(kind: int, blob: tuple[bytes, int] | None, *, compiled: bool = True, on_device: bool = False,
              first: int = 0) -> list[BpfProgram]:  # fmt: skip
        data, function = blob or (b"", 0)
        facts = ProgramFacts(
            5, kind, "a_name_that_is_", 9 if blob else 0, first or function, compiled, on_device
        )

        def no_such(_number: int) -> int:
            raise FileNotFoundError

        def opened(_number: int) -> int:
            return os.open("/dev/null", os.O_RDONLY)

        monkeypatch.setattr(syscall_bpf, "program_ids", lambda: [4, 5])
        monkeypatch.setattr(syscall_bpf, "program_fd", lambda n: opened(n) if n == 5 else no_such(n))
        monkeypatch.setattr(syscall_bpf, "program_facts", lambda _fd: facts)
        monkeypatch.setattr(syscall_bpf, "btf_fd_by_id", opened)
        monkeypatch.setattr(syscall_bpf, "btf_data", lambda _fd: data)
        before = len(os.listdir("/proc/self/fd"))
        programs = loaded_programs()
        assert len(os.listdir("/proc/self/fd")) == before
        return programs

    return found


@pytest.mark.parametrize(
    ("kind", "context", "told"),
    [
        (XDP, "xdp_md", ("xdp", 1)),
        (CLS, "__sk_buff", ("tc", 1)),
        (ACT, "__sk_buff", ("tc", 1)),
        (XDP, "xdp_buff", ("xdp", 5)),
        (CLS, "", ("tc", 5)),
        (XDP, "__sk_buff", ("xdp", 5)),
        (EXT, "xdp_md", ("xdp", 1)),
        (EXT, "__sk_buff", ("tc", 1)),
    ],
)
def test_what_a_program_is(
    load: Callable[..., list[BpfProgram]], kind: int, context: str, told: object
) -> None:
    (program,) = load(kind, types(context))
    assert (program.kind, program.arguments) == told
    assert (program.id, program.name, program.why_not) == (5, "a_name_that_is_longer", "")
    assert program.type_id == types(context)[1]


@pytest.mark.parametrize(("kind", "context"), [(EXT, "bpf_sock_ops"), (EXT, ""), (KPROBE, "xdp_md")])
def test_programs_of_no_concern(load: Callable[..., list[BpfProgram]], kind: int, context: str) -> None:
    assert not load(kind, types(context))


def test_an_extension_may_have_more_arguments(load: Callable[..., list[BpfProgram]]) -> None:
    (program,) = load(EXT, types("xdp_md", 3))
    assert program.arguments == 3


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"blob": None}, "it was loaded without types (BTF)"),
        ({"blob": (b"\x9f\xeb", 1)}, "its types (BTF) can't be read"),
        ({"first": 1}, "its types (BTF) can't be read"),
        ({"compiled": False}, "the kernel interprets it (net.core.bpf_jit_enable is 0)"),
        ({"on_device": True}, "it runs on the network device itself"),
    ],
)
def test_why_one_cannot_be_attached_to(
    load: Callable[..., list[BpfProgram]], how: dict[str, object], why: str
) -> None:
    blob = how.pop("blob", types("xdp_md")) if "blob" in how else types("xdp_md")
    (program,) = load(XDP, blob, **how)
    assert program.why_not == why
