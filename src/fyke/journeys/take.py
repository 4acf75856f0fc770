"""Rows of columns in another order; what is null throughout, or where its section is, costs little."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from fyke.events.coded import plain
from fyke.events.nulls import nulls


def taken(pieces: Sequence[pa.Array], places: pa.Array) -> pa.Array:
    """Return values of one column.

    pieces: of it, of one type. places: in all pieces together (int64); they aren't checked.
    """
    # Most sections of most collections are empty: don't copy nulls.
    if all(piece.null_count == len(piece) for piece in pieces):
        return nulls(len(places), pieces[0].type)
    kind = pieces[0].type
    if types.is_dictionary(kind):
        return _coded(pieces, places, lambda codes: taken(codes, places))
    if not types.is_struct(kind):
        return _moved(_whole(pieces), places)
    validity = None
    if any(piece.null_count for piece in pieces):
        validity = _moved(_whole([piece.is_valid() for piece in pieces]), places).buffers()[1]
    members = [
        _member([piece.field(i) for piece in pieces], pieces, places, validity)
        for i in range(kind.num_fields)
    ]
    return pa.Array.from_buffers(kind, len(places), [validity], children=members)


def _member(
    pieces: Sequence[pa.Array], sections: Sequence[pa.Array], places: pa.Array, validity: pa.Buffer | None
) -> pa.Array:
    """Return values of a member of a section. validity: of the section's values that are taken."""
    kind = pieces[0].type
    if types.is_dictionary(kind):
        return _coded(pieces, places, lambda codes: _member(codes, sections, places, validity))
    plain = not types.is_nested(kind) and validity is not None
    if not plain or not all(_same_nulls(*pair) for pair in zip(pieces, sections, strict=True)):
        return taken(pieces, places)
    # To look at each value's bit takes several times as long as to move the value.
    found = _moved(_whole([_without_nulls(piece) for piece in pieces]), places)
    return pa.Array.from_buffers(kind, len(places), [validity, *found.buffers()[1:]])


def _coded(
    pieces: Sequence[pa.Array], places: pa.Array, take: Callable[[list[pa.Array]], pa.Array]
) -> pa.Array:
    """Return values of a dictionary column. take: moves its numbers."""
    meanings = [piece.dictionary for piece in pieces]
    longest = max(meanings, key=len)
    if all(longest.slice(0, len(meaning)).equals(meaning) for meaning in meanings):
        return pa.DictionaryArray.from_arrays(take([p.indices for p in pieces]), longest, safe=False)
    # As many values as rows are taken, at most: their numbers fit.
    kind = pieces[0].type
    return taken([plain(piece) for piece in pieces], places).dictionary_encode().cast(kind)


def _same_nulls(member: pa.Array, section: pa.Array) -> bool:
    """Say whether a member is null exactly where its section is. It may say no where it is so."""
    if not member.null_count or member.null_count != section.null_count or member.offset != section.offset:
        return False
    start, end = member.offset // 8, -(-(member.offset + len(member)) // 8)
    one, other = (array.buffers()[0].slice(start, end - start) for array in (member, section))
    return bool(one.equals(other))


def _without_nulls(array: pa.Array) -> pa.Array:
    """Return the same values, and whatever is where there is none."""
    return pa.Array.from_buffers(
        array.type, len(array), [None, *array.buffers()[1:]], null_count=0, offset=array.offset
    )


def _moved(array: pa.Array, places: pa.Array) -> pa.Array:
    return pc.take(array, places, boundscheck=False)


def _whole(pieces: Sequence[pa.Array]) -> pa.Array:
    return pieces[0] if len(pieces) == 1 else pa.concat_arrays(pieces)
