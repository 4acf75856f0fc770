"""Layouts: where the literals of a shape are in lines that were seen, so that most lines need no search.

Lines of one shape are laid out in few ways, since most values are as long as the last time. To look for all
quotes of a block takes as long as all else that tells which lines are of which shape. Here the length of a
line tells how it may be laid out, and a few bytes of it, which of these ways. It is a guess: whoever reads
the line compares all of the literals.
"""

from __future__ import annotations

import numpy as np

from fyke.events.retis.lines import Block, Places
from fyke.events.retis.shapes import Shape, whole_rows

MAX_BYTES = 4096  # of a line: a layout is as large as a line can be, and there are many
WAYS = 4  # of one length
_MOST = 4096  # layouts of a file
_LEAST, _SOON = 8, 128  # to learn in a block, and altogether as soon as can be
_PROBES = 3  # places in a line that are looked at
_WORD = 8  # bytes


class Layouts:
    """The layouts of one file. Number 0 is none."""

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self._by_length = np.zeros((WAYS, MAX_BYTES + 1), np.int32)
        self._numbers: dict[tuple[int, bytes], int] = {}
        self._shapes: list[Shape] = []
        self._shape = np.zeros(_MOST, np.int64)  # of each layout
        self._row = np.zeros(_MOST, np.int64)  # in its shape's `_begins`
        self._begins: list[list[Places]] = []
        self._arrays: dict[int, Places] = {}  # these as arrays
        self._probes = np.zeros((_MOST, 3 * _PROBES), np.uint64)  # where, masks, words
        self._turn = np.zeros(_MOST, np.int64)  # which probe is the next to be given up

    def guess(self, block: Block, starts: Places, ends: Places) -> list[tuple[Shape, Places, Places]]:
        """Return shapes, the events that may be of them (places in `starts`), and where literals begin."""
        found = np.zeros(len(starts), np.int64)
        lengths = ends - starts
        left = np.flatnonzero(lengths <= MAX_BYTES)
        for numbers in self._by_length:
            number = numbers[lengths[left]]
            left, number = left[number > 0], number[number > 0]
            if not len(left):
                break
            at, masks, words = np.split(self._probes.take(number, axis=0), 3, axis=1)
            right = whole_rows(block.words[starts[left][:, None] + at.view(np.int64)] & masks == words)
            found[left[right]] = number[right]
            left = left[~right]
        guessed = np.flatnonzero(found)
        shapes = self._shape[found[guessed]]
        parts = []
        for place in np.flatnonzero(np.bincount(shapes)).tolist():
            events = guessed[shapes == place]
            begins = self._array(place).take(self._row[found[events]], axis=0)
            begins += starts[events][:, None]
            parts.append((self._shapes[place], events, begins))
        return parts

    def budget(self) -> int:
        """Return how many lines are worth learning from in a block: each takes as long as some ten events."""
        return max(_LEAST, _SOON - len(self._numbers))

    def _array(self, shape: int) -> Places:
        if shape not in self._arrays:
            self._arrays[shape] = np.array(self._begins[shape], np.int64)
        return self._arrays[shape]

    def learn(self, shape: Shape, begins: Places, line: bytes) -> None:
        """Remember a line that wasn't guessed. begins: of its literals, from its begin on."""
        if len(line) > MAX_BYTES:
            return
        if len(self._numbers) + 1 >= _MOST:
            self._clear()
        ways = self._by_length[:, len(line)]
        place = self._shapes.index(shape) if shape in self._shapes else self._add_shape(shape)
        number = self._numbers.get((place, begins.tobytes()))
        if number is None and not ways.all():
            number = self._add(place, begins, line)
            ways[np.flatnonzero(ways == 0)[0]] = number
        for other in ways.tolist():
            if other in (0, number):
                break
            self._sharpen(other, line)

    def _add_shape(self, shape: Shape) -> int:
        self._shapes.append(shape)
        self._begins.append([])
        return len(self._shapes) - 1

    def _add(self, place: int, begins: Places, line: bytes) -> int:
        number = self._numbers[place, begins.tobytes()] = len(self._numbers) + 1
        self._shape[number] = place
        self._row[number] = len(self._begins[place])
        self._begins[place].append(begins)
        self._arrays.pop(place, None)
        lengths = self._shapes[place].lengths
        for probe in range(_PROBES):
            literal = (probe + 1) * (len(begins) - 1) // (_PROBES + 1)
            begin, length = int(begins[literal]), int(lengths[literal])
            self._look_at(number, probe, begin, line[begin : begin + min(length, _WORD)])
        return number

    def _look_at(self, number: int, probe: int, at: int, text: bytes) -> None:
        mask = (1 << 8 * len(text)) - 1
        self._probes[number, probe::_PROBES] = at, mask, int.from_bytes(text, "little")

    def _sharpen(self, number: int, line: bytes) -> None:
        """Look at a place that tells a layout from this line, which is of the same length and another's."""
        if any(self._differs(number, probe, line) for probe in range(_PROBES)):
            return
        place = int(self._shape[number])
        begins = self._begins[place][int(self._row[number])]
        for begin, text in zip(begins.tolist(), self._shapes[place].texts, strict=True):
            for at in range(0, len(text), _WORD):
                part = text[at : at + _WORD]
                if line[begin + at : begin + at + len(part)] != part:
                    probe = int(self._turn[number])
                    self._turn[number] = (probe + 1) % _PROBES
                    self._look_at(number, probe, begin + at, part)
                    return

    def _differs(self, number: int, probe: int, line: bytes) -> bool:
        at, mask, word = self._probes[number, probe::_PROBES].tolist()
        return bool(int.from_bytes(line[at : at + _WORD], "little") & mask != word)
