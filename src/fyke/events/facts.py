"""What is known of a collection as a whole; kept as JSON in the file's schema metadata."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

CAPTURED_WITH = "captured_with"  # in Facts.extra: read from a packet capture, which this program made
_MAX_INT = 1 << 63  # what SQL and Arrow can hold of nanoseconds and sizes


@dataclass(frozen=True)
class Facts:
    """The facts of one collection.

    timestamp_ns: start of the collection, monotonic clock.
    clock_monotonic_offset_ns: what to add to a timestamp to get nanoseconds since the Unix epoch.
    host: the name of the machine, empty where it isn't told.
    order: `time` as collected, `journey` after `fyke sort`.
    probes: one dict a probe: symbol, probe_type, and what it was asked as.
    split_id, split_limit_bytes: set when the output was rotated.
    """

    version: str = ""
    cmdline: str = ""
    timestamp_ns: int = 0
    clock_monotonic_offset_ns: int = 0
    kernel_release: str = ""
    kernel_version: str = ""
    hardware_name: str = ""
    host: str = ""
    order: str = "time"
    collectors: tuple[str, ...] = ()
    probes: tuple[dict[str, Any], ...] = ()
    notes: tuple[str, ...] = ()
    split_id: int | None = None
    split_limit_bytes: int | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> bytes:
        """Return the facts as UTF-8 JSON."""
        return json.dumps(dataclasses.asdict(self), ensure_ascii=True).encode()

    @classmethod
    def from_json(cls, data: bytes | str) -> Facts:
        """Read facts back; keys this version doesn't know go to `extra`.

        Raises ValueError when it isn't JSON or a fact isn't what it should be: facts come from files.
        """
        try:
            raw = json.loads(data)
        except RecursionError:
            raise ValueError("facts are nested too deeply") from None
        return cls.from_dict(raw)

    @classmethod
    def from_dict(cls, raw: Any) -> Facts:
        """Take facts from parsed JSON; see `from_json`."""
        if not isinstance(raw, dict):
            raise ValueError("facts are not a JSON object")
        known = {f.name for f in dataclasses.fields(cls)}
        values: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in raw.items() if k in known
        }
        extra = values.pop("extra", None) or {}
        unknown = {k: v for k, v in raw.items() if k not in known}
        if not isinstance(extra, dict):
            raise ValueError("the fact 'extra' is not an object")
        facts = cls(**values, extra={**extra, **unknown})
        facts._check()
        return facts

    def _check(self) -> None:
        blank = Facts()
        for fact in dataclasses.fields(self):
            value = getattr(self, fact.name)
            wanted = getattr(blank, fact.name)
            if wanted is None:  # split_id, split_limit_bytes
                right = value is None or (type(value) is int and value >= 0)
            else:
                right = type(value) is type(wanted)
            if not right or (type(value) is int and not -_MAX_INT <= value < _MAX_INT):
                raise ValueError(f"the fact '{fact.name}' is not what it should be")
        if not all(isinstance(name, str) for name in (*self.collectors, *self.notes)):
            raise ValueError("the facts 'collectors' and 'notes' are not lists of strings")
        if not all(isinstance(probe, dict) for probe in self.probes):
            raise ValueError("the fact 'probes' is not a list of objects")
