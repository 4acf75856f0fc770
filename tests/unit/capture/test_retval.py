"""What functions returned, as values, names and types."""

from __future__ import annotations

import errno

import numpy as np
import pytest
from btf_writer import BtfWriter

from fyke.capture.planned import PlannedProbe
from fyke.capture.retval import ReturnValues, value_name
from fyke.kernel.btf import Btf
from fyke.kernel.return_type import ReturnType, return_type

INT = ReturnType("int", "number", 4, signed=True)
LONG = ReturnType("long int", "number", 8, signed=True)
U16 = ReturnType("u16", "number", 2)
U64 = ReturnType("netdev_features_t", "number", 8)
BOOL = ReturnType("bool", "bool", 1)
SKB = ReturnType("struct sk_buff *", "pointer", 8)
TX = ReturnType("netdev_tx_t", "enum", 4, signed=True, names={-(2**31): "LOW", 0: "NETDEV_TX_OK", 16: "BUSY"})
ALL = (INT, LONG, U16, U64, BOOL, SKB, TX, None)


def decoded(*rows: tuple[ReturnType | None, int]) -> list[tuple[object, ...]]:
    probes = [PlannedProbe(f"f{n}", "fexit", frozenset(), {}, returns=r) for n, r in enumerate(ALL)]
    numbers = np.array([ALL.index(returns) for returns, _ in rows], np.uint32)
    raw = np.array([value & 2**64 - 1 for _, value in rows], np.uint64)
    section = ReturnValues(probes).section(numbers, raw, np.ones(len(rows), bool))
    return [tuple(row.values()) for row in section.to_pylist()]


@pytest.mark.parametrize(
    ("returns", "raw", "value", "name"),
    [
        (INT, 0, 0, None),
        (INT, 7, 7, None),
        (INT, -13, -13, "EACCES"),
        (INT, -1, -1, "EPERM"),
        (INT, -4096, -4096, None),
        (INT, -524, -524, "ENOTSUPP"),
        (INT, -errno.EAGAIN, -11, "EAGAIN"),
        (INT, -errno.EOPNOTSUPP, -95, "EOPNOTSUPP"),
        (INT, -400, -400, None),
        (LONG, -2, -2, "ENOENT"),
        (LONG, 2**40, 2**40, None),
        (U16, 0xFFFF, 0xFFFF, None),
        (U64, -13, -13, None),
        (BOOL, 0, 0, "false"),
        (BOOL, 1, 1, "true"),
        (SKB, 0, 0, "NULL"),
        (SKB, -12, -12, "ENOMEM"),
        (SKB, 0xFFFF888012345600, 0xFFFF888012345600 - 2**64, None),
        (TX, 16, 16, "BUSY"),
        (TX, -(2**31), -(2**31), "LOW"),
        (TX, 5, 5, None),
    ],
)
def test_values(returns: ReturnType, raw: int, value: int, name: str | None) -> None:
    assert decoded((returns, raw)) == [(value, name, returns.text)]


def test_many_at_once_and_again() -> None:
    rows = [(returns, value) for value in (0, -13, 16, -13) for returns in ALL if returns]
    assert decoded(*rows) == [decoded(row)[0] for row in rows]


def test_rows_that_have_none() -> None:
    probes = [PlannedProbe("f", "fexit", frozenset(), {}, returns=INT)]
    section = ReturnValues(probes).section(
        np.array([0, 77], np.uint32), np.array([1, 2], np.uint64), np.array([True, False])
    )
    assert section.to_pylist() == [{"value": 1, "name": None, "type": "int"}, None]


@pytest.mark.parametrize("number", range(1, 134))
def test_errors_are_the_systems(number: int) -> None:
    name = value_name(INT, -number)
    assert name is None or getattr(errno, name) == number


def types() -> Btf:
    w = BtfWriter()
    int_ = w.int("int", signed=True)
    bool_ = w.add("int", "_Bool", 1, words=(4 << 24 | 8,))
    long_ = w.int("long unsigned int", 8)
    returned = {
        "i": int_,
        "b": w.add("typedef", "bool", bool_),
        "u": w.add("typedef", "netdev_features_t", w.add("typedef", "u64", long_)),
        "p": w.pointer(w.struct("sk_buff", 8)),
        "e": w.add("typedef", "netdev_tx_t", w.enum("netdev_tx", ("__MIN", -5), ("OK", 0), signed=True)),
        "e64": w.enum64("wide", ("BIG", 2**40)),
        "none": 0,
        "c": w.add("const", ref=int_),
        "s": w.struct("pair", 16),
        "wide": w.int("__int128", 16, signed=True),
    }
    big = w.struct("sockptr", 16)
    for name, type_id in returned.items():
        w.func(name, w.proto(type_id, ("a", int_), ("b", big), ("c", int_)))
    return Btf.parse(w.blob())


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("i", INT),
        ("b", BOOL),
        ("u", U64),
        ("p", SKB),
        ("e", ReturnType("netdev_tx_t", "enum", 4, signed=True, names={-5: "__MIN", 0: "OK"})),
        ("e64", ReturnType("enum wide", "enum", 8, names={2**40: "BIG"})),
        ("none", None),
        ("c", INT),
        ("s", None),
        ("wide", None),
    ],
)
def test_types_are_read(function: str, expected: ReturnType | None) -> None:
    assert return_type(types(), function) == expected


def test_structures_passed_by_value_take_their_room() -> None:
    assert types().argument_slots("i") == (0, 1, 3, 4)
    with pytest.raises(ValueError, match="no function nowhere"):
        types().argument_slots("nowhere")
