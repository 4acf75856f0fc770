"""Batches of events to the text that the user reads, laid out as Retis lays it out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fyke.collectors.formatting import Part, Place, Style, all_parts
from fyke.events.facts import Facts
from fyke.render.distinct import TextCache
from fyke.render.head import HEAD, RETVAL, USER, ArgumentText, StackText
from fyke.render.legs import Legs
from fyke.render.notes import gap_text, loss_text, startup_text
from fyke.render.times import time_texts

# Rows made into text at once: enough to find repeats, little enough to stay in the CPU's caches.
SLICE_ROWS = 8_192
_NONE = pa.nulls(1, pa.string())[0]  # pa.scalar() would import pandas, where it is


def _parts() -> list[Part]:
    """Return all parts, in the order in which they stand."""
    return sorted((HEAD, USER, RETVAL, *all_parts()), key=lambda part: part.place)


class EventText:
    """Makes the text of events, batch after batch, in the order in which they come.

    series: batches are sorted (their `journey` column is filled): events of a journey stand below its
    first one, with an empty line after each journey. Otherwise each event stands for itself.
    """

    def __init__(self, style: Style, *, series: bool = False) -> None:
        self._style = style
        self._series = series
        self._parts = [
            (part, {name.partition(".")[0] for name in part.columns}, TextCache(*_with_lead(part, style)))
            for part in _parts()
        ]
        self._arguments = ArgumentText()
        self._stack = StackText(style)
        self._legs = Legs(style, series=series) if style.link_layer else None
        self._journey: int | None = None  # of the last event shown
        self._begun = False

    def start(self, facts: Facts) -> bytes:
        """Return the text of the facts that a recording starts with."""
        self._begun = True
        end = "\n\n" if self._style.multi_line and not self._series else "\n"
        return (startup_text(facts, self._style) + end).encode()

    def batch(self, batch: pa.RecordBatch) -> Iterator[memoryview]:
        """Yield the text (UTF-8) of a batch in pieces. Rows that note the end of a collection have none."""
        if batch.column("closing").null_count != len(batch):
            batch = batch.filter(pc.is_null(batch.column("closing")))
        for start in range(0, len(batch), SLICE_ROWS):
            rows = batch.slice(start, SLICE_ROWS)
            texts = self.texts(rows)
            texts = self._journeys(rows, texts) if self._series else self._apart(texts)
            yield _bytes(texts)

    def end(self) -> bytes:
        """Return what stands after the last batch."""
        return b"\n" if self._series and self._begun else b""

    def texts(self, rows: pa.RecordBatch) -> pa.Array:
        """Return each row's text (utf8), without what stands between events. Few rows at a time cost most."""
        pieces = [time_texts(rows.column("timestamp_ns"), self._style)]
        netns = None
        stack_done = False
        # Most sections of most collections are empty.
        there = {name for name in rows.schema.names if rows.column(name).null_count < len(rows)}
        for part, sections, cache in self._parts:
            if part.place >= Place.STACK and not stack_done:
                stack_done = True
                pieces.append(self._arguments.texts(_column(rows, "arguments.values")))
                pieces.append(self._stack.texts(_column(rows, "kernel.stack")))
            wanted = not there.isdisjoint(sections)
            texts = cache.texts([_column(rows, name) for name in part.columns]) if wanted else None
            if part.place == Place.NETNS:
                netns = texts
            elif part.place == Place.DEV and texts is not None:
                texts = self._beside(netns, texts)
            pieces.append(texts)
            if part.place == Place.ID and self._series and texts is not None:
                pieces.append(_numbers(rows, texts))
        if self._legs is not None:
            pieces.append(self._legs.texts(rows))
        texts = pc.binary_join_element_wise(*(p for p in pieces if p is not None), "", null_handling="skip")
        return self._with_gaps(rows, texts)

    def _beside(self, before: pa.Array | None, texts: pa.Array) -> pa.Array:
        """Put texts on the line of `before` where there is one, else on a line to themselves."""
        lead = self._style.separator
        leads = lead if before is None else pc.if_else(pc.is_null(before), lead, " ")
        return pc.binary_join_element_wise(leads, texts, "")

    def _with_gaps(self, rows: pa.RecordBatch, texts: pa.Array) -> pa.Array:
        gaps = rows.column("gap")
        if gaps.null_count == len(gaps):
            return texts
        is_gap = gaps.is_valid()
        noted = rows.select(["timestamp_ns", "cpu", "kernel", "gap"]).filter(is_gap).to_pylist()
        notes = [gap_text(self._style, r["timestamp_ns"], r["cpu"], r["kernel"], r["gap"]) for r in noted]
        return pc.replace_with_mask(texts, is_gap, pa.array(notes, pa.string()))

    def _apart(self, texts: pa.Array) -> pa.Array:
        end = "\n\n" if self._style.multi_line else "\n"
        return pc.binary_join_element_wise(texts, end, "")

    def _journeys(self, rows: pa.RecordBatch, texts: pa.Array) -> pa.Array:
        """Put the later events of each journey below its first one."""
        first = self._is_first(rows)
        if not first.all():
            indented = pc.replace_substring(texts, "\n", "\n    ")
            texts = pc.if_else(pa.array(first), texts, pc.binary_join_element_wise("  ↳ ", indented, ""))
        apart = first.copy()  # an empty line before each journey but the first
        apart[0] &= self._begun
        self._begun = True
        pieces = [pc.if_else(pa.array(apart), "\n", ""), self._losses(rows, first), texts]
        return pc.binary_join_element_wise(*pieces, "\n", "", null_handling="skip")

    def _is_first(self, rows: pa.RecordBatch) -> np.ndarray[Any, Any]:
        """Say for each row whether it begins a journey; what belongs to none stands alone."""
        ids = _column(rows, "journey.id")
        alone = pc.is_null(ids).to_numpy(zero_copy_only=False)
        numbers = pc.fill_null(ids, 0).to_numpy()
        first: np.ndarray[Any, Any] = alone.copy()
        first[1:] |= (numbers[1:] != numbers[:-1]) | alone[:-1]
        first[0] |= self._journey is None or numbers[0] != self._journey
        self._journey = None if alone[-1] else int(numbers[-1])
        return first

    def _losses(self, rows: pa.RecordBatch, first: np.ndarray[Any, Any]) -> pa.Array:
        lost = pc.fill_null(_column(rows, "journey.lost"), 0).to_numpy()
        notes: list[str | None] = [None] * len(rows)
        for i in np.flatnonzero(first & (lost > 0)):
            notes[i] = loss_text(self._style, int(lost[i])) + "\n"
        return pa.array(notes, pa.string())


def _with_lead(part: Part, style: Style) -> tuple[Callable[..., str | None], Callable[..., pa.Array] | None]:
    """Return the part's functions of values alone, with what stands before the text."""
    lead = {Place.DEV: ""}.get(part.place, style.separator if part.place > Place.STACK else " ")

    def text(*values: object) -> str | None:
        made = part.text(style, *values)
        return None if made is None else lead + made

    def many(*arrays: pa.Array) -> pa.Array:
        assert part.many is not None
        return pc.binary_join_element_wise(lead, part.many(style, *arrays), "")

    return text, None if part.many is None else many


def _column(rows: pa.RecordBatch, name: str) -> pa.Array:
    """Return a column by its `section.column` name, null where the section is."""
    section, _, column = name.partition(".")
    values = rows.column(section)
    return pc.struct_field(values, column) if column else values


def _numbers(rows: pa.RecordBatch, ids: pa.Array) -> pa.Array:
    """Return ` n INDEX` for the events that have an id and a journey."""
    numbers = pc.binary_join_element_wise(" n ", pc.cast(_column(rows, "journey.index"), pa.string()), "")
    return pc.if_else(pc.is_valid(ids), numbers, _NONE)


def _bytes(texts: pa.Array) -> memoryview:
    """Return the texts one after another: Arrow keeps them so."""
    _validity, offsets, data = texts.buffers()
    if data is None:
        return memoryview(b"")
    ends = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    return memoryview(data)[ends[0] : ends[-1]]
