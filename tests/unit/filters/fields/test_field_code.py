from __future__ import annotations

import pytest
from field_machine import LAYOUT, Machine, unreachable
from field_samples import BASE, Samples
from hypothesis import given, settings
from hypothesis import strategies as st
from made_structs import MadeTypes
from oracle import Image, holds

from fyke.errors import UsageError
from fyke.filters.asm import Insn
from fyke.filters.fields.grammar import parse
from fyke.filters.fields.lower import MAX_INSNS, lower_fields
from fyke.filters.fields.resolve import resolve
from fyke.filters.fields.view import FieldView

TYPES = MadeTypes()


def compiled(text: str) -> tuple[list[Insn], tuple[str, ...]]:
    found = resolve(parse(text), TYPES)
    return lower_fields(found, LAYOUT), found.roots


def run(text: str, image: Image) -> tuple[bool, list[tuple[int, int]]]:
    code, roots = compiled(text)
    machine = Machine(image.read, image.current)
    result = machine.run(code, [image.roots.get(name, 0) for name in roots], image.result)
    assert result in (0, 1)
    return bool(result), machine.reads


@settings(max_examples=300)
@given(st.integers(0, 2**40))
def test_code_says_what_an_evaluation_of_the_tree_says(seed: int) -> None:
    samples = Samples(seed)
    for _ in range(4):
        expr = samples.expr()
        try:
            found = resolve(expr, TYPES)
        except UsageError as error:
            if "structures" in error.message:  # more roots than there is room for
                continue
            raise
        code = lower_fields(found, LAYOUT)
        assert not unreachable(code)
        machine = Machine(samples.image.read, samples.image.current)
        roots = [samples.image.roots.get(name, 0) for name in found.roots]
        assert machine.run(code, roots, samples.image.result) == holds(expr, samples.image), str(expr)


# Two structures in memory that single facts can be tried on.
AT, DEV, NAME = BASE, BASE + 0x1000, BASE + 0x2000


def image(skb: bytes = b"", dev: bytes = b"", **roots: int) -> Image:
    regions = {AT: skb.ljust(112, b"\0"), DEV: dev.ljust(120, b"\0")}
    return Image(regions, {"sk_buff": AT, **roots})


def skb_of(dev: int = DEV) -> bytes:
    return bytes(8) + dev.to_bytes(8, "little")


@pytest.mark.parametrize(
    "address", [0, 1, 0x7FFF_FFFF_FFFF_FFFF, (1 << 64) - 4095, (1 << 64) - 1, BASE - 4096]
)
def test_a_bad_pointer_on_the_way_makes_the_term_false_and_its_opposite_too(address: int) -> None:
    there = image(skb_of(address))
    for term in ("sk_buff.dev.ifindex == 0", "sk_buff.dev.ifindex != 0", 'sk_buff.dev.name not in {"a"}'):
        assert run(term, there)[0] is False
        assert run(f"not {term}", there)[0] is True
    assert run("sk_buff.dev.ifindex == 0", image(skb_of()))[0] is True


def test_only_addresses_of_the_kernel_are_read() -> None:
    for address in (0, 1, 0x7FFF_FFFF_FFFF_FFFF, (1 << 64) - 4095, (1 << 64) - 1):
        _, reads = run("sk_buff.dev.ifindex == 0", image(skb_of(address)))
        assert reads == [(AT + 8, 8)]
    assert run("sk_buff.mark", image(sk_buff=5))[1] == []
    for address in (1 << 63, (1 << 64) - 4096):
        assert run("sk_buff.mark", image(sk_buff=address))[1] == [(address + 32, 4)]


def test_a_root_alone_is_its_address() -> None:
    assert run("net_device == 0", image())[0]  # the packet has no device
    assert not run("net_device", image())[0]
    assert run(f"net_device == {DEV}", image(skb_of()))[0]
    assert run(f"net_device == {DEV}", image(net_device=DEV))[0]
    assert run("sk_buff.dev == 0", image())[0]
    assert not run("sk_buff.dev == 0", image(sk_buff=0))[0]


def test_an_argument_goes_before_what_the_packet_has() -> None:
    there = image(skb_of(DEV), net_device=DEV + 0x8000)
    there.regions[DEV + 0x8000] = bytes(16) + (9).to_bytes(4, "little") + bytes(100)
    assert run("net_device.ifindex == 9", there)[0]
    assert run("sk_buff.dev.ifindex == 0", there)[0]


def test_no_more_is_read_than_the_answer_needs() -> None:
    there = image(skb_of(), bytes(16) + (3).to_bytes(4, "little"))
    assert run("net_device.ifindex in {1, 2, 3, 5-9}", there)[1] == [(AT + 8, 8), (DEV + 16, 4)]
    # The second term has the device from the first.
    assert run("net_device.ifindex == 3 and net_device.error == FINE", there)[1] == [
        (AT + 8, 8),
        (DEV + 16, 4),
        (DEV + 20, 4),
    ]
    assert run("sk_buff.mark == 1 and net_device.ifindex", there)[1] == [(AT + 32, 4)]
    assert run("sk_buff.mark == 0 or net_device.ifindex", there)[1] == [(AT + 32, 4)]
    assert run('net_device.name in {"a", "bcd"}', there)[1] == [(AT + 8, 8), (DEV, 4)]


def test_strings_behind_pointers_may_end_where_memory_ends() -> None:
    there = image(skb_of(), bytes(104) + NAME.to_bytes(8, "little"))
    there.regions[NAME] = b"eth0\0"
    assert run('net_device.alias == "eth0"', there)[0]
    assert run('net_device.alias != "eth01234"', there)[0]
    assert run('net_device.alias in {"a", "eth0", "x"}', there)[0]
    there.regions[NAME] = b"eth0"  # no NUL, and nothing behind
    assert not run('net_device.alias == "eth0"', there)[0]
    assert not run('net_device.alias != "eth0"', there)[0]
    there.regions[NAME] = b"e" * 40
    assert not run(f'net_device.alias == "{"e" * 31}"', there)[0]


def test_an_array_can_be_full_of_a_string() -> None:
    there = image(skb_of(), b"exactly16letters")
    assert run('net_device.name == "exactly16letters"', there)[0]
    assert not run('net_device.name == "exactly16letter"', there)[0]


def test_the_return_value_is_signed() -> None:
    there = image()
    there.result = -12
    assert run("retval < 0 and retval == -12 and retval >= -4095 and retval not in {0-5}", there)[0]


def test_where_nothing_returns_no_return_value_is_compared() -> None:
    for expression in ("retval == 0", "retval != 0", "retval", "retval < 1 and not sk_buff.mark"):
        assert run(expression, image())[0] is False
        assert run(f"not ({expression})", image())[0] is True
        without = lower_fields(resolve(parse(expression), TYPES), FieldView(has_result=None))
        assert not unreachable(without)
        assert not any(insn.op == 0x79 and insn.off == FieldView().result for insn in without)


def test_code_that_has_no_room_is_refused_with_its_size() -> None:
    fits = "sk_buff.mark in {%s}"
    many = ", ".join(str(2 * n) for n in range(4060))
    assert len(compiled(fits % many)[0]) <= MAX_INSNS
    with pytest.raises(UsageError, match=r"too long: its term makes \d{4} instructions, 4094 fit"):
        compiled(fits % ", ".join(str(2 * n) for n in range(4200)))
    with pytest.raises(UsageError, match="too long: its term makes more than 32767 instructions"):
        compiled(fits % ", ".join(str(2 * n) for n in range(40000)))
