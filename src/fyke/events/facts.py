"""What is known of a collection as a whole; kept as JSON in the file's schema metadata."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Facts:
    """The facts of one collection.

    timestamp_ns: start of the collection, monotonic clock.
    clock_monotonic_offset_ns: what to add to a timestamp to get nanoseconds since the Unix epoch.
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
    def from_json(cls, data: bytes) -> Facts:
        """Read facts back; keys this version doesn't know go to `extra`. Raises ValueError when it isn't JSON."""
        raw = json.loads(data)
        if not isinstance(raw, dict):
            raise ValueError("facts are not a JSON object")
        known = {f.name for f in dataclasses.fields(cls)}
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in raw.items() if k in known}
        extra = dict(values.pop("extra", None) or {})
        extra.update({k: v for k, v in raw.items() if k not in known})
        return cls(**values, extra=extra)
