"""Events as Retis' Python package has them: the same sections, fields, methods and text.

A section is a view of the JSON form of an event (`fyke schema`): Retis' names, and Retis' pid and tgid.
"""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from fyke.api.event import Event
from fyke.api.retis_fields import Json, class_of
from fyke.api.retis_names import SECTIONS
from fyke.api.retis_ovs_text import detrace_text, ovs_text
from fyke.api.rows import Rows
from fyke.api.sections import section_text
from fyke.collectors.formatting import Style, shown
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
        if self._json.keys() & _WITHOUT_COLUMNS:
            return self._put_together()
        return super().__str__()

    def _put_together(self) -> str:
        """Return the event's text, made of that of its sections."""
        texts = {name: self._text_of(name) for name in SECTIONS if _key(name) in self._json}
        first = [texts.get(name) for name in ("common", "kernel", "userspace")]
        first += [texts.get("tracking") or texts.get("skb_tracking"), texts.get("skb_drop")]
        stack = (self._json.get("kernel") or {}).get("stack_trace") or ()
        place = " ".join(text for text in (texts.get("netns"), texts.get("dev")) if text)
        rest = [texts.get(name) for name in ("skb", "ovs", "ovs_detrace", "nft", "ct")]
        lines = [" ".join(text for text in first if text), *(f"    {shown(frame)}" for frame in stack)]
        for text in (texts.get("packet"), place, *rest):
            lines += [f"  {line}" for line in text.split("\n")] if text else []
        return "\n".join(lines)

    def _text_of(self, name: str) -> str:
        section = self._section(name)
        return "" if section is None else str(section)

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
        if name in _TEXTS:
            with contextlib.suppress(KeyError, TypeError, ValueError, AttributeError):
                return _TEXTS[name](value)
            return None
        if not columns:
            return None
        text = section_text({column: self._value(column) for column in columns}) or ""
        return text.replace(Style().separator, "\n")

    def _value(self, column: str) -> Any:
        return self._rows.value(column, self._row) if column in self._rows.names else None


def start_event(json: Json, facts: Facts) -> RetisEvent:
    """Return the event that a file begins with. json: its JSON form; facts: what it says."""
    row: dict[str, Any] = {"timestamp_ns": facts.timestamp_ns % (1 << 64)}
    return RetisEvent(Rows(pa.RecordBatch.from_pylist([row], schema=arrow_schema()), facts), 0, json)


def _userspace_text(fields: Json) -> str:
    _, slash, name = fields["path"].rpartition("/")
    return f"[u] {shown(fields['symbol'])}" + (f" ({shown(name)})" if slash else "")


# Sections whose text is put together here; those of ovs have no columns: their collector comes later.
_TEXTS = {"userspace": _userspace_text, "ovs": ovs_text, "ovs_detrace": detrace_text}
_WITHOUT_COLUMNS = frozenset(SECTIONS[name] for name in _TEXTS if name != "userspace")


def _key(name: str) -> str:
    return SECTIONS.get(name, name)
