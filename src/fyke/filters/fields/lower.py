"""Field filters to eBPF.

The code takes R1, a `struct field_view` on its caller's stack, and returns 1 or 0. It has no stack of its
own. A term reads one pointer after the other with bpf_probe_read_kernel; wherever that fails, or an address
is none of the kernel's, the term is false. What isn't needed for the answer isn't read.
"""

from __future__ import annotations

from fyke.errors import UsageError
from fyke.filters.asm import GET_CURRENT_TASK, Assembler, Insn, Label, Reg, TooFar
from fyke.filters.fields import resolved as r
from fyke.filters.fields.reader import ADDRESS, VIEW, Reader
from fyke.filters.fields.view import FieldView

__all__ = ["MAX_INSNS", "FieldView", "lower", "lower_fields"]

MAX_INSNS = 4094
"""Instructions that fit into the slot of the programs."""


def lower_fields(resolved: r.Resolved, view: FieldView) -> list[Insn]:
    """Return the code of a whole function. UsageError, with its size, when it's more than MAX_INSNS."""
    code = Assembler()
    lower(resolved, view, code)
    try:
        insns = code.finish()
    except TooFar:
        insns = None
    if insns is None or len(insns) > MAX_INSNS:
        size = "more than 32767" if insns is None else str(len(insns))
        count = len(r.terms(resolved.node))
        terms = "its term makes" if count == 1 else f"its {count} terms make"
        raise UsageError(
            f"the field filter is too long: {terms} {size} instructions, {MAX_INSNS} fit",
            "use ranges, masks or prefixes in place of many values",
        )
    return insns


def lower(resolved: r.Resolved, view: FieldView, code: Assembler) -> None:
    """Append the code: it starts with R1 = view and exits with R0 = 1 (match) or 0."""
    assert view.loaded % 8 == 0, "the kernel wants aligned accesses to its stack"
    _Lowering(resolved, view, code).whole()


class _Lowering(Reader):
    def __init__(self, resolved: r.Resolved, view: FieldView, code: Assembler) -> None:
        super().__init__(view, code)
        self.resolved = resolved

    def whole(self) -> None:
        code, yes, no = self.code, self.code.label(), self.code.label()
        code.mov(VIEW, Reg.R1)
        self.node(self.resolved.node, yes, no, yes)
        code.place(yes)
        code.mov(Reg.R0, 1)
        code.exit()
        code.place(no)
        code.mov(Reg.R0, 0)
        code.exit()

    # Conditions. Control goes to `yes` or `no`; `after`, one of them, is what will be placed next.

    def node(self, node: r.Node, yes: Label, no: Label, after: Label) -> None:
        match node:
            case r.FieldTerm():
                self.term(node, yes, no, after)
            case r.NoneOf(of):
                self.node(of, no, yes, after)
            case r.AllOf(parts):
                for part in parts[:-1]:
                    go_on = self.code.label()
                    self.node(part, go_on, no, go_on)
                    self.code.place(go_on)
                self.node(parts[-1], yes, no, after)
            case r.AnyOf(parts):
                for part in parts[:-1]:
                    go_on = self.code.label()
                    self.node(part, yes, go_on, go_on)
                    self.code.place(go_on)
                self.node(parts[-1], yes, no, after)

    def term(self, term: r.FieldTerm, yes: Label, no: Label, after: Label) -> None:
        if term.root == r.RESULT:
            if self.view.has_result is None:
                self.go(no, after)
                return
            self.code.load(ADDRESS, VIEW, self.view.has_result, 8)
            self.code.branch("eq", ADDRESS, 0, no)
            self.code.load(ADDRESS, VIEW, self.view.result, 8)
        else:
            self.root(self.resolved.root(term.root))
        for follow in term.follows:
            self.follow(follow, no)
        reading = term.reading
        match reading:
            case r.Itself():
                self.numbers(term, ADDRESS, reading.signed, yes, no, after)
            case r.NumberAt():
                self.read(reading.offset, reading.size, no)
                self.number(reading)
                self.numbers(term, Reg.R0, reading.signed, yes, no, after)
            case r.MacAt():
                self.read(reading.offset, 6, no)
                self.mac()
                self.numbers(term, Reg.R0, False, yes, no, after)
            case r.Ipv6At():
                self.read(reading.offset, 16, no)
                self.ipv6(term, yes, no, after)
            case r.StringAt():
                self.strings(term, reading, yes, no, after)

    # Getting at memory

    def root(self, root: r.Root) -> None:
        """Leave a root's address in ADDRESS; 0 or no address of the kernel when there is none."""
        code, known = self.code, self.code.label()
        if root.slot is not None:
            at = self.view.roots + 8 * root.slot
            code.load(ADDRESS, VIEW, at, 8)
            if root.sources or root.is_task:
                code.branch("ne", ADDRESS, 0, known)
            for source in root.sources:
                missing = code.label()
                self.root(self.resolved.root(source.root))
                for follow in source.follows:
                    self.follow(follow, missing)
                code.branch("eq", ADDRESS, 0, missing)
                code.store(VIEW, at, ADDRESS, 8)  # for the terms that come
                code.jump(known)
                code.place(missing)
            if root.sources:
                code.mov(ADDRESS, 0)
        if root.is_task:
            code.call(GET_CURRENT_TASK)
            code.mov(ADDRESS, Reg.R0)
        code.place(known)

    def follow(self, follow: r.Follow, failed: Label) -> None:
        self.read(follow.offset, 8, failed)
        self.code.load(ADDRESS, VIEW, self.view.loaded, 8)
        if follow.mask != r.MAX_ADDRESS_MASK:
            self.mask(ADDRESS, follow.mask)
