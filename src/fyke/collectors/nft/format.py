"""Text of the nft section: `table filter (2) chain forward (1) handle 4 accept`; with `-e` the rule too."""

from __future__ import annotations

from fyke.collectors.formatting import Part, Place, Style, shown
from fyke.collectors.nft import SECTION
from fyke.events.escape import printable


def nft_text(
    style: Style,
    table: str | None,
    chain: str | None,
    verdict: str | None,
    target: str | None,
    table_handle: int | None,
    chain_handle: int | None,
    rule_handle: int | None,
    policy: bool | None,
    rule: str | None,
) -> str | None:
    """Return where it was decided, what, where that leads, and the rule as `nft list` shows it."""
    if verdict is None and table is None and chain is None:
        return None
    text = f"table {shown(table)} ({_number(table_handle)}) chain {shown(chain)} ({_number(chain_handle)})"
    if rule_handle is not None:
        text += f" handle {rule_handle}"
    text += f" {shown(verdict)}"
    if policy:
        text += " (policy)"
    if target is not None:
        text += f" chain {printable(target)}"
    return f"{text} rule: {printable(rule)}" if style.link_layer and rule is not None else text


def _number(value: int | None) -> str:
    return "?" if value is None else str(value)


PARTS = (Part(Place.REST, tuple(f"{SECTION.name}.{c.name}" for c in SECTION.columns), nft_text),)
