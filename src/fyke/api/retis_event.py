"""Events as Retis' Python package has them: the same sections, fields, methods and text.

A section is a view of the JSON form of an event (`fyke schema`): Retis' names, and Retis' pid and tgid.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from fyke.api.event import Event
from fyke.api.retis_fields import Json, class_of
from fyke.api.retis_names import SECTIONS
from fyke.api.rows import Rows
from fyke.api.sections import section_text
from fyke.collectors.formatting import Style
from fyke.events.facts import Facts
from fyke.events.retis.mapping import MAPPED, OWN
from fyke.events.retis.startup import facts_of
from fyke.events.schema import arrow_schema
from fyke.render.head import head_text, probe_text
from fyke.render.notes import startup_text


class RetisEvent(Event):
    """An event with Retis' sections: `e["skb-tracking"]` or `e.skb_tracking`, None without one."""

    __slots__ = ("_json",)

    def __init__(self, rows: Rows, row: int, json: Json) -> None:
        super().__init__(rows, row)
        self._json = json

    if TYPE_CHECKING:  # sections of fyke's own events, which are something else here
        task: Any
        kernel: Any
        skb_tracking: Any
        skb_drop: Any
        packet: Any
        netns: Any
        dev: Any

    def __reduce__(self) -> tuple[Any, ...]:
        call, arguments = super().__reduce__()
        return call, (*arguments, self._json)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        found = self._section(name)
        if found is None and name not in SECTIONS:
            raise AttributeError(f"an event has no section {name}")
        return found

    def __getitem__(self, name: str) -> Any:
        found = self._section(name.replace("-", "_"))
        if found is None:
            raise KeyError(name)
        return found

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, str):
            raise TypeError("a section's name is a string")
        return _key(name.replace("-", "_")) in self._json

    def __dir__(self) -> list[str]:
        return sorted({*object.__dir__(self), *SECTIONS})

    def sections(self) -> list[str]:
        """Return the names of the sections it has, in the order of the alphabet."""
        return sorted(name.replace("-", "_") for name in self._json if name != OWN)

    def to_dict(self) -> Json:
        """Return the event as it is in JSON."""
        return self._json

    def __repr__(self) -> str:
        return repr(self._json)

    def __str__(self) -> str:
        """Return the text that `fyke print` shows of it."""
        if "startup" in self._json:
            return startup_text(facts_of(self._json, ""), Style())
        return super().__str__()

    def _section(self, name: str) -> Any:
        value = self._json.get(_key(name))
        if not isinstance(value, dict):
            return None
        return class_of(name)(value, name, partial(self._section_text, name, value))

    def _section_text(self, name: str, value: Json) -> str | None:
        """Return a section's text, None for the fields themselves."""
        if name == "startup":
            lines = startup_text(facts_of(self._json, ""), Style()).split("\n")
            return "\n".join(line.strip() for line in lines[1:])
        if name == "common":
            task = self._value("task") or {}
            who = (task.get("pid"), task.get("tgid"), task.get("comm"))
            head = head_text(Style(), self._value("cpu"), *who, None, None)
            return " ".join(str(piece) for piece in (value.get("timestamp"), head) if piece is not None)
        if name == "tracking":
            skb = value.get("skb") or {}
            ids = {
                "orig_head": skb.get("orig_head"),
                "timestamp_ns": skb.get("timestamp"),
                "skb": skb.get("skb"),
            }
            return f"{section_text({'skb_tracking': ids})} n {value.get('idx')}"
        columns = ["ct", "ct_parent"] if name == "ct" else []
        columns += [m.section for m in MAPPED if m.path[0].replace("-", "_") == name]
        if name == "kernel":
            return probe_text(Style(), value.get("symbol"), value.get("probe_type"))
        if not columns:  # its collector comes later
            return None
        return section_text({column: self._value(column) for column in columns}) or ""

    def _value(self, column: str) -> Any:
        return self._rows.value(column, self._row) if column in self._rows.names else None


def start_event(json: Json, facts: Facts) -> RetisEvent:
    """Return the event that a file begins with. json: its JSON form; facts: what it says."""
    row: dict[str, Any] = {"timestamp_ns": facts.timestamp_ns % (1 << 64)}
    return RetisEvent(Rows(pa.RecordBatch.from_pylist([row], schema=arrow_schema()), facts), 0, json)


def _key(name: str) -> str:
    return SECTIONS.get(name, name)
