"""Texts of rows, put together of few pieces: what stands between values that differ from row to row.

Most columns have few values, and most combinations of neighbours are there again and again: each is made
once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fyke.events.retis.arrays import bools_of, indices_of
from fyke.events.retis.lines import Places
from fyke.events.retis.values import Key, Values

FEW = 256  # combinations that are worth making in any batch, however few rows it has
_MOST_CODES = 1 << 62


@dataclass(frozen=True)
class Pattern:
    """The text of rows: literals[0] value literals[1] ... literals[-1]; keys: which columns' values."""

    literals: tuple[str, ...]
    keys: tuple[Key, ...]


def joined(
    values: Values, patterns: Sequence[Pattern], which: Places, varied: dict[Key, bool]
) -> pa.StringArray:
    """Return the text of each row. which: the pattern of each.

    varied: columns of which each row's value is a piece of its own, and others; what is missing is found out,
    and a column may turn out to need it.
    """
    for key in {key for pattern in patterns for key in pattern.keys} - varied.keys():
        varied[key] = values.is_varied(key)
    while True:
        layout = _Layout(values, patterns, which, varied)
        pieces = [layout.fragment(number) for number in range(len(layout.slots) + 1)]
        if None not in pieces:
            break
    for number in reversed(range(len(layout.slots))):
        pieces.insert(number + 1, layout.value(number))
    return pc.binary_join_element_wise(*pieces, pa.scalar(""), null_handling="skip")


class _Layout:
    """Where what stands: a fragment, the value of slots[0], a fragment ... and a last fragment."""

    def __init__(
        self, values: Values, patterns: Sequence[Pattern], which: Places, varied: dict[Key, bool]
    ) -> None:
        self._values = values
        self._which = which
        self._varied = varied
        self.slots = _slots(patterns, varied)
        self._used = np.zeros((len(patterns), len(self.slots)), np.bool_)
        self._parts = [  # of each pattern: what it has in each fragment
            _cut(pattern, self.slots, used) for pattern, used in zip(patterns, self._used, strict=True)
        ]

    def value(self, number: int) -> pa.StringArray:
        """Return the texts of a slot, null where a row's pattern has nothing there."""
        texts = self._values.whole(self.slots[number])
        used = self._used[:, number]
        if used.all():
            return texts
        return pc.if_else(bools_of(used[self._which]), texts, pa.scalar(None, pa.string()))

    def fragment(self, number: int) -> pa.Array | pa.Scalar | None:
        """Return a fragment's text of each row; None where one more column must have a slot first."""
        distinct: dict[Pattern, int] = {}
        which = np.array([distinct.setdefault(parts[number], len(distinct)) for parts in self._parts])
        parts = list(distinct)
        keys = list(dict.fromkeys(key for part in parts for key in part.keys))
        codes, rows = self._combined(which[self._which], len(parts), keys)
        if len(rows) > max(FEW, len(codes) // 4):
            counts = [(self._values.coded(key).count, key) for key in keys if not self._varied[key]]
            most, key = max(counts, default=(0, ("", "")))
            if most > 1:
                self._varied[key] = True
                return None
        texts, places = [], np.empty(len(rows), np.int64)
        own, done = which[self._which[rows]], 0
        for place, part in enumerate(parts):
            these = np.flatnonzero(own == place)
            texts.append(self._texts(part, rows[these]))
            places[these] = np.arange(done, done + len(these))
            done += len(these)
        if done == 1 and number:  # the first piece says how many rows there are
            return texts[0][0]
        return pa.concat_arrays(texts).take(indices_of(places[codes]))

    def _texts(self, part: Pattern, rows: Places) -> pa.StringArray:
        """Return the texts of a part, of some rows."""
        pieces: list[pa.Scalar | pa.Array] = []
        text = part.literals[0]
        for key, literal in zip(part.keys, part.literals[1:], strict=True):
            only = self._values.coded(key).only
            if only is not None:
                text += only + literal
            else:
                pieces += [pa.scalar(text), self._values.texts(key, rows)]
                text = literal
        if not pieces:
            return pa.array([text] * len(rows), pa.string())
        return pc.binary_join_element_wise(*pieces, pa.scalar(text), pa.scalar(""))

    def _combined(self, codes: Places, size: int, keys: list[Key]) -> tuple[Places, Places]:
        """Number the combinations of numbers and columns' values; return each row's, and a row of each.

        size: the numbers are below it.
        """
        by_section: dict[str, list[Key]] = {}
        for key in keys:
            by_section.setdefault(key[0], []).append(key)
        for section, own in by_section.items():
            more, count = self._section(section, own)
            if size >= _MOST_CODES // count:
                codes, size = _numbered(codes, size)
            if count > 1:
                codes, size = codes * count + more, size * count
        codes, size = _numbered(codes, size)
        rows = np.empty(size, np.int64)
        rows[codes[::-1]] = np.arange(len(codes))[::-1]
        return codes, rows

    def _section(self, section: str, keys: list[Key]) -> tuple[Places, int]:
        """Number the combinations of values of one section; return each row's, and a bound of the numbers.

        In rows that don't have the section it is any number: their pattern is another.
        """
        codes, size = np.zeros(1, np.int64), 1
        for key in keys:
            coded = self._values.coded(key)
            if coded.only is not None:
                continue  # or null, which is another pattern
            count = coded.count + 1
            if size >= _MOST_CODES // count:
                codes, size = _numbered(codes, size)
            codes, size = codes * count + coded.codes, size * count
        places = self._values.places(section)
        if size == 1 or isinstance(places, slice):
            return codes, size
        codes, size = _numbered(codes, size)
        whole = np.zeros(self._values.rows, np.int64)
        whole[places] = codes
        return whole, size


_NOTHING = Pattern(("",), ())


def _slots(patterns: Sequence[Pattern], varied: dict[Key, bool]) -> list[Key]:
    """Return the varied columns in an order that is, of most patterns, their own."""
    slots: list[Key] = []
    for pattern in patterns:
        at = 0
        for key in pattern.keys:
            if varied[key]:
                if key not in slots:
                    slots.insert(at, key)
                at = max(at, slots.index(key) + 1)
    return slots


def _cut(pattern: Pattern, slots: list[Key], used: npt.NDArray[np.bool_]) -> list[Pattern]:
    """Return what a pattern has in each fragment, and note in `used` which slots it uses."""
    literals, keys = [""], list[Key]()
    parts: list[Pattern] = []
    for literal, key in zip(pattern.literals, [*pattern.keys, None], strict=True):
        literals[-1] += literal
        if key in slots and slots.index(key) >= len(parts):
            place = slots.index(key)
            used[place] = True
            parts.append(Pattern(tuple(literals), tuple(keys)))
            parts += [_NOTHING] * (place + 1 - len(parts))
            literals, keys = [""], list[Key]()
        elif key is not None:
            keys.append(key)
            literals.append("")
    parts.append(Pattern(tuple(literals), tuple(keys)))
    return parts + [_NOTHING] * (len(slots) + 1 - len(parts))


def _numbered(codes: Places, size: int) -> tuple[Places, int]:
    """Return numbers as small as can be for the same distinct ones, and how many there are."""
    if size <= 4 * len(codes):
        there = np.zeros(size, np.bool_)
        there[codes] = True
        numbers = np.cumsum(there) - 1
        return numbers[codes], int(numbers[-1]) + 1
    encoded = indices_of(codes).dictionary_encode()
    own = np.frombuffer(encoded.indices.buffers()[1], np.int32)[: len(codes)]
    return own.astype(np.int64), len(encoded.dictionary)
