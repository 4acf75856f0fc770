"""What the generated code works on: `struct field_view`, on the stack of the program that calls it."""

from __future__ import annotations

from dataclasses import dataclass

MAX_ROOTS = 6
"""How many structures a filter can begin at: the view's `roots`."""


@dataclass(frozen=True, slots=True)
class FieldView:
    """Offsets in bytes into

        struct field_view { u64 roots[MAX_ROOTS]; s64 result; u64 has_result; u8 loaded[64]; };

    `roots[i]` is the argument of type `struct ROOT *` for the filter's i-th root, 0 when the probe has none;
    the code may put there what it found instead. `loaded`, 8-byte aligned, is where memory is read to.

    `result` is a return value where `has_result` isn't 0. Elsewhere terms about it are false, as they always
    are with a view that has no such member (None).
    """

    roots: int = 0
    result: int = 48
    loaded: int = 64
    has_result: int | None = 56
