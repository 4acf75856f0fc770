"""The stages of a filter's compilation as text, for `fyke collect --dry-run --dump STAGE`."""

from __future__ import annotations

from fyke.capture.filters import FilterCode, Filters


def dump(stage: str, filters: Filters, code: FilterCode) -> str:
    """Return a stage (`cbpf`, `ebpf` or `fields`) of every filter it exists for, each under a heading."""
    parts = {"cbpf": _cbpf, "fields": _fields}[stage](filters) if stage != "ebpf" else _ebpf(code)
    if not parts:
        return f"{stage}: there is no such filter"
    return "\n".join(f"{heading}:\n{text}" for heading, text in parts)


def _cbpf(filters: Filters) -> list[tuple[str, str]]:
    from fyke.filters.pcap.text import classic_text

    parts = []
    for name, one in (("packet filter", filters.packet), ("inner packet filter", filters.inner)):
        if one is None:
            continue
        parts.append((f"{name}, link-layer header first", classic_text(one.ethernet)))
        without = classic_text(one.raw) if one.raw is not None else f"(none: {one.why_no_raw})"
        parts.append((f"{name}, network header first", without))
    return parts


def _ebpf(code: FilterCode) -> list[tuple[str, str]]:
    from fyke.filters.disassembler import text

    return [(slot.replace("_", " "), text(insns)) for slot, insns in code.slots.items()]


def _fields(filters: Filters) -> list[tuple[str, str]]:
    if filters.fields is None:
        return []
    from fyke.filters.fields.text import text

    return [("field filter", text(filters.fields))]
