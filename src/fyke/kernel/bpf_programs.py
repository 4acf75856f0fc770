"""The XDP and TC programs that are loaded: what each is called, and what attaching to it needs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from fyke.kernel import syscall_bpf
from fyke.kernel.btf import Btf
from fyke.kernel.btf_raw import PTR
from fyke.kernel.syscall_bpf import ProgramFacts

XDP, TC = "xdp", "tc"
_KINDS = {3: TC, 4: TC, 6: XDP}  # BPF_PROG_TYPE_SCHED_CLS, _SCHED_ACT, _XDP
_EXTENSION = 28  # BPF_PROG_TYPE_EXT: in place of a function of another program; libxdp has many programs so
_CONTEXTS = {"xdp_md": XDP, "__sk_buff": TC}
# Of a function whose first argument isn't the context, the kernel gives a trampoline five arguments.
_ARGUMENTS_OF_UNKNOWN = 5


@dataclass(frozen=True, slots=True)
class BpfProgram:
    """A loaded program.

    kind: `xdp` or `tc`. name: its function's, whole if the program has types, else its first 15 characters.
    type_id: of the function among the program's types. arguments: in front of the returned value, in 8-byte
    words. why_not: why it can't be attached to (a clause), empty when it can.
    """

    id: int
    kind: str
    name: str
    type_id: int = 0
    arguments: int = 1
    why_not: str = ""


def loaded_programs() -> list[BpfProgram]:
    """Return the XDP and TC programs that are loaded, in order of their ids. OSError for want of rights."""
    return [program for number in syscall_bpf.program_ids() for program in _program(number)]


def _program(number: int) -> Iterator[BpfProgram]:
    try:
        fd = syscall_bpf.program_fd(number)
    except FileNotFoundError:  # gone meanwhile
        return
    try:
        facts = syscall_bpf.program_facts(fd)
        if facts.type in _KINDS or facts.type == _EXTENSION:
            yield from _described(facts)
    finally:
        os.close(fd)


def _described(facts: ProgramFacts) -> Iterator[BpfProgram]:
    kind = _KINDS.get(facts.type, "")
    why_not = ""
    if not facts.compiled:
        why_not = "the kernel interprets it (net.core.bpf_jit_enable is 0)"
    elif facts.on_device:
        why_not = "it runs on the network device itself"
    if not facts.btf_id or not facts.function:
        if kind:
            yield BpfProgram(
                facts.id, kind, facts.name, why_not=why_not or "it was loaded without types (BTF)"
            )
        return
    try:
        btf = _types(facts.btf_id)
        name, context, count = _function(btf, facts.function)
    except ValueError:
        if kind:
            yield BpfProgram(facts.id, kind, facts.name, why_not=why_not or "its types (BTF) can't be read")
        return
    if not (kind or context):
        return
    arguments = count if context and context in (kind or context) else _ARGUMENTS_OF_UNKNOWN
    yield BpfProgram(facts.id, kind or context, name, facts.function, arguments, why_not)


def _types(number: int) -> Btf:
    fd = syscall_bpf.btf_fd_by_id(number)
    try:
        return Btf.parse(syscall_bpf.btf_data(fd))
    finally:
        os.close(fd)


def _function(btf: Btf, type_id: int) -> tuple[str, str, int]:
    """Return a function's name, of which kind of program its first argument is (or ""), and their number."""
    prototype = btf.prototype_of(type_id)
    context = ""
    if prototype.params:
        pointer = btf.resolve(prototype.params[0].type_id)
        if btf.kind(pointer) == PTR:
            context = _CONTEXTS.get(btf.name(btf.resolve(btf.target(pointer))), "")
    return btf.name(type_id), context, len(prototype.params)
