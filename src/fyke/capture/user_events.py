"""What records of user programs hold -> the columns `userspace` and `arguments`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fyke.capture.planned import PlannedProbe
from fyke.events import schema

Records = npt.NDArray[np.void]
Places = npt.NDArray[np.bool_]


class UserEvents:
    """Makes the columns of one collection's user probes."""

    def __init__(self, probes: Sequence[PlannedProbe]) -> None:
        self._symbols = pa.array([p.symbol for p in probes], pa.string())
        self._types = pa.array([p.mechanism for p in probes], pa.string())
        self._paths = pa.array([p.user.path if p.user else None for p in probes], pa.string())
        most = max((len(p.user.arguments) for p in probes if p.user), default=0)
        self._counts = np.array([len(p.user.arguments) if p.user else 0 for p in probes])
        self._signed = np.zeros((len(probes), most), np.bool_)
        for number, probe in enumerate(probes):
            for at, operand in enumerate(probe.user.arguments if probe.user else ()):
                self._signed[number, at] = operand is not None and operand.signed

    def section(self, records: Records, here: Places) -> pa.StructArray:
        """Return `userspace`, for the records that have it."""
        probe = pa.array(np.ascontiguousarray(records["probe"]), mask=~here)
        ip, pid, tid = (
            np.where(here, values, np.zeros((), values.dtype))
            for values in (records["userspace"]["ip"], records["tgid"], records["pid"])
        )
        children = [
            self._types.take(probe),
            self._symbols.take(probe),
            pa.array(ip),
            self._paths.take(probe),
            pa.array(pid),
            pa.array(tid),
        ]
        fields = list(schema.section_type(schema.USERSPACE))
        return pa.StructArray.from_arrays(children, fields=fields, mask=pa.array(~here))

    def arguments(self, records: Records, here: Places) -> pa.StructArray:
        """Return `arguments`, for the records that have it."""
        rows = records["arguments"]
        most = self._signed.shape[1]
        counts = np.where(here, self._counts[records["probe"]], 0)
        used = np.arange(most) < counts[:, None]
        values = rows["values"][:, :most][used]
        signed = self._signed[records["probe"]][used]
        unread = (rows["unread"][:, None] >> np.arange(most, dtype=np.uint64) & np.uint64(1)).astype(bool)[
            used
        ]
        offsets = np.concatenate(([0], np.cumsum(counts))).astype(np.int32)
        lists = pa.ListArray.from_arrays(pa.array(offsets), _texts(values, signed, unread))
        fields = list(schema.section_type(schema.ARGUMENTS))
        return pa.StructArray.from_arrays([lists], fields=fields, mask=pa.array(~here))


def _texts(values: npt.NDArray[np.uint64], signed: Places, unread: Places) -> pa.Array:
    """Return numbers as C would write them; what is large and unsigned most likely is an address."""
    decimal = pa.array(values.view(np.int64)).cast(pa.string())
    address = ~signed & (values >> np.uint64(32) != 0)
    texts = pc.if_else(pa.array(address), _hexadecimal(values, address), decimal)
    return pc.if_else(pa.array(unread), "?", texts)


def _hexadecimal(values: npt.NDArray[np.uint64], wanted: Places) -> pa.Array:
    encoded = pa.array(values, mask=~wanted).dictionary_encode()
    labels: list[Any] = [f"{value:#x}" for value in encoded.dictionary.to_pylist()]
    return pa.array(labels, pa.string()).take(encoded.indices)
