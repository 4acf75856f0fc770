"""Sections of an event as objects: a class for each section of the schema, an attribute for each column."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from fyke.api.optional import optional
from fyke.collectors.formatting import Style, all_parts
from fyke.events.column import Column, Section
from fyke.events.schema import sections

Values = dict[str, Any]  # of one section: column -> value, None where there is none


class SectionValues:
    """What an event has of one section. Columns are attributes, None where the event has no value.

    Values are those of docs/columns.md: integers, strings, bytes, lists of strings. Columns that only a later
    version knows are attributes as well.
    """

    __slots__ = ("_values",)
    section = ""

    def __init__(self, values: Values) -> None:
        self._values = values

    if not TYPE_CHECKING:  # which know the columns of each section: columns.pyi

        def __getattr__(self, name: str) -> Any:
            if name.startswith("_") or name not in self._values:
                raise AttributeError(f"the section {self.section} has no column {name}")
            return self._values[name]

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    __iter__ = None  # or dict() and list() would try 0, 1, 2 ...

    def __reduce__(self) -> tuple[Any, ...]:
        return section_object, (self.section, self._values)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._values})

    def to_dict(self) -> Values:
        """Return column -> value, of those that have one."""
        return {name: value for name, value in self._values.items() if value is not None}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SectionValues):
            return NotImplemented
        return self.section == other.section and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.to_dict().items())})"

    def __str__(self) -> str:
        """Return the text that fyke prints of it, the columns where it prints none."""
        return section_text({self.section: self._values}) or repr(self)


class PacketValues(SectionValues):
    """The packet: `data` are its bytes, from the link-layer header on."""

    __slots__ = ()

    def __bytes__(self) -> bytes:
        return self._values["data"] or b""

    def to_scapy(self) -> Any:
        """Return the packet as scapy dissects it. Raises MissingPackage where scapy isn't installed."""
        return to_scapy(bytes(self), link_layer=self._values.get("link_layer") is not False)


def to_scapy(data: bytes, *, link_layer: bool = True) -> Any:
    """Dissect a packet with scapy: Ethernet; without a link-layer header of its own, what follows it.

    Raises MissingPackage where scapy isn't installed.
    """
    ethernet = optional("scapy", "scapy.layers.l2").Ether
    optional("scapy", "scapy.layers.inet6")  # registers IPv4 and IPv6 as what Ethernet may carry
    packet = ethernet(data)
    return packet if link_layer or not packet.payload else packet.payload


def section_text(values: dict[str, Values | None]) -> str | None:
    """Return the text of some sections of one event, None where they have none.

    What is said of several sections belongs to the first of them.
    """
    made = []
    for part in all_parts():
        owners = [name.partition(".")[::2] for name in part.columns]
        if owners[0][0] not in values:
            continue
        text = part.text(Style(), *((values.get(section) or {}).get(column) for section, column in owners))
        if text is not None:
            made.append(text)
    return " ".join(made) or None


@cache
def section_classes() -> dict[str, type[SectionValues]]:
    """Return section -> its class, made from the schema."""
    return {section.name: _class(section) for section in sections()}


def section_object(name: str, values: Values) -> SectionValues:
    """Return a section as an object. A section of a later version has no class of its own."""
    made = section_classes().get(name)
    if made is not None:
        return made(values)
    return _other_class(name)(values)


@lru_cache(64)
def _other_class(name: str) -> type[SectionValues]:
    return type(class_name(name), (SectionValues,), {"__slots__": (), "section": name})


def _class(section: Section) -> type[SectionValues]:
    base = PacketValues if section.name == "packet" else SectionValues
    members: dict[str, Any] = {c.name: _property(c) for c in section.columns}
    members |= {"__slots__": (), "__doc__": section.doc, "__module__": __name__, "section": section.name}
    return type(class_name(section.name), (base,), members)


def _property(column: Column) -> property:
    def get(self: SectionValues) -> Any:
        return self._values.get(column.name)

    unit = f", {column.unit}" if column.unit else ""
    return property(get, doc=f"{column.doc} ({column.type}{unit}).")


def class_name(name: str) -> str:
    """Return the name of a section's class: SkbDrop for skb_drop."""
    return "".join(word.capitalize() for word in name.split("_"))
