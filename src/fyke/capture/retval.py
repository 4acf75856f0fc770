"""Returned values -> the `retval` section, by the type of each function."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fyke.capture.planned import PlannedProbe
from fyke.events import schema
from fyke.kernel.return_type import ReturnType

_MOST_ERRNO = 4095  # MAX_ERRNO, include/linux/err.h
# Errors that have no name outside the kernel: include/linux/errno.h.
_INTERNAL = {
    512: "ERESTARTSYS", 513: "ERESTARTNOINTR", 514: "ERESTARTNOHAND", 515: "ENOIOCTLCMD",
    516: "ERESTART_RESTARTBLOCK", 517: "EPROBE_DEFER", 518: "EOPENSTALE", 519: "ENOPARAM", 521: "EBADHANDLE",
    522: "ENOTSYNC", 523: "EBADCOOKIE", 524: "ENOTSUPP", 525: "ETOOSMALL", 526: "ESERVERFAULT",
    527: "EBADTYPE", 528: "EJUKEBOX", 529: "EIOCBQUEUED", 530: "ERECALLCONFLICT", 531: "ENOGRACE",
}  # fmt: skip
# Where two have one number, the kernel's own first name (lib/errname.c).
_ERRORS = {**errno.errorcode, **_INTERNAL, 11: "EAGAIN", 35: "EDEADLK", 95: "EOPNOTSUPP"}


class ReturnValues:
    """What the probes of a collection return.

    A probe that returns nothing has no section, whatever is in the register.
    """

    def __init__(self, probes: Sequence[PlannedProbe]) -> None:
        self._returns = [probe.returns for probe in probes]
        kinds = [r.kind if r else "" for r in self._returns]
        self._signed = np.array([bool(r and r.signed) for r in self._returns])
        self._bool = np.array([kind == "bool" for kind in kinds])
        self._pointer = np.array([kind == "pointer" for kind in kinds])
        self._always_named = np.array([kind in ("bool", "enum") for kind in kinds])
        self._types = pa.array([r.text if r else None for r in self._returns], pa.string())
        self._names: dict[tuple[int, int], str | None] = {}

    def section(
        self, probes: npt.NDArray[np.uint32], raw: npt.NDArray[Any], here: npt.NDArray[np.bool_]
    ) -> pa.StructArray:
        """Return the section of each record, null where it isn't; probes are numbers."""
        probes = np.where(here, probes, 0)
        values = np.where(here, raw, np.uint64(0)).astype(np.uint64).view(np.int64)
        values = np.where(self._bool[probes], (values != 0).astype(np.int64), values)
        children = [pa.array(values), self._named(probes, values), self._types.take(pa.array(probes))]
        fields = list(schema.section_type(schema.RETVAL))
        return pa.StructArray.from_arrays(children, fields=fields, mask=pa.array(~here))

    def _named(self, probes: npt.NDArray[np.uint32], values: npt.NDArray[np.int64]) -> pa.Array:
        """Look a name up once for each value of a probe; most values, such as addresses, can't have one."""
        signed, pointer = self._signed[probes], self._pointer[probes]
        may_fail = (signed | pointer) & (values < 0) & (values >= -_MOST_ERRNO)
        nameable = np.flatnonzero(self._always_named[probes] | may_fail | (pointer & (values == 0)))
        pairs = np.stack([probes[nameable].astype(np.int64), values[nameable]], axis=1)
        distinct, which = np.unique(pairs, axis=0, return_inverse=True)
        found = [self._name(int(probe), int(value)) for probe, value in distinct]
        place = np.full(len(values), len(found))  # behind them stands that of those without a name
        place[nameable] = which.reshape(-1)
        return pa.array([*found, None], pa.string()).take(pa.array(place))

    def _name(self, probe: int, value: int) -> str | None:
        key = (probe, value)
        if key not in self._names:
            returns = self._returns[probe]
            self._names[key] = value_name(returns, value) if returns else None
        return self._names[key]


def value_name(returns: ReturnType, value: int) -> str | None:
    """Return the name of a value, None when it has none."""
    if returns.kind == "bool":
        return "true" if value else "false"
    if returns.kind == "pointer" and value == 0:
        return "NULL"
    return returns.names.get(value) or (_ERRORS.get(-value) if value < 0 else None)
