"""Each collector's text, value by value; the layout of whole events is tested with the renderer."""

from __future__ import annotations

from typing import Any

import pytest

from fyke.collectors import COLLECTORS
from fyke.collectors.dev.format import dev_text
from fyke.collectors.formatting import Place, Style, all_parts
from fyke.collectors.ns.format import netns_text
from fyke.collectors.skb.format import packet_text, skb_text
from fyke.collectors.skb_drop.format import drop_text
from fyke.collectors.skb_tracking.format import id_text, parent_text
from fyke.events.schema import sections

STYLE = Style()
LINK_LAYER = Style(link_layer=True)
NO_VLAN, NO_META, NO_DATAREF, NO_GSO = (None,) * 4, (None,) * 7, (None,) * 5, (None,) * 5


def test_parts_name_columns_that_exist_and_show_nothing_for_nothing() -> None:
    known = {f"{s.name}.{c.name}" for s in sections() for c in s.columns}
    for part in all_parts():
        assert set(part.columns) <= known
        assert part.text(LINK_LAYER, *[None] * len(part.columns)) is None


def test_every_section_of_a_collector_is_shown() -> None:
    shown = {column.partition(".")[0] for part in all_parts() for column in part.columns}
    assert shown == {section.name for collector in COLLECTORS for section in collector.sections}


def test_parts_are_in_the_order_of_their_places() -> None:
    places = [part.place for part in all_parts()]
    assert places == sorted(places)
    assert places.count(Place.ID) == 1


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (("veth01", 2, 3), "if 2 (veth01) rxif 3"),
        (("veth01", 2, None), "if 2 (veth01)"),
        (("", 2, None), "if 2"),
        ((None, 0, None), "if 0"),
        (("a\nb", 2, None), "if 2 (a\\x0ab)"),
    ],
)
def test_dev(values: tuple[Any, ...], text: str) -> None:
    assert dev_text(STYLE, *values) == text


def test_netns() -> None:
    assert netns_text(STYLE, 0x1004, 4026532294) == "ns 0x1004/4026532294"
    assert netns_text(STYLE, None, 4026532294) == "ns 4026532294"


def test_drop() -> None:
    assert drop_text(STYLE, None, "NO_SOCKET") == "drop (reason NO_SOCKET)"
    assert drop_text(STYLE, "openvswitch", "LAST_ACTION") == "drop (reason openvswitch/LAST_ACTION)"


def test_tracking_ids_are_one_hexadecimal_number() -> None:
    head = 0xFF46E04CC22EDE40
    assert id_text(STYLE, head, 0x53142207F5, 0xAB) == "#53142207f5ff46e04cc22ede40 (skb ab)"
    assert id_text(STYLE, 5, 255, 0) == "#ff0000000000000005 (skb 0)"
    assert id_text(STYLE, 5, 0, 0) == "#5 (skb 0)"
    assert parent_text(STYLE, 5, 255) == "parent ff0000000000000005"


def test_packets() -> None:
    assert packet_text(STYLE, b"", 60) is None
    shown = packet_text(STYLE, b"\xff" * 12 + b"\x08\x06", 60)
    assert shown is not None
    assert "truncated" in shown


# The texts of Retis' event library for the same values.
@pytest.mark.parametrize(
    ("values", "text"),
    [
        ((*NO_VLAN, 1, 0, 0, 0, 0, 0, 6, *NO_DATAREF, *NO_GSO), "skb [csum none len 1 priority 6]"),
        (
            (*NO_VLAN, 1, 2, 3, 1, 4, 5, 6, 1, 1, 1, 2, 3, 1, 2, 3, 4, 5),
            "skb [csum unnecessary (level 5) hash 0x3 len 1 data_len 2 priority 6 nohdr cloned fclone 1 "
            "users 2 dataref 3] gso [type 0x5 flags 0x1 frags 2 segs 4 size 3]",
        ),
        (
            (*NO_VLAN, 1, 0, 0, 2, 0xABCD0123, 0, 6, *NO_DATAREF, *NO_GSO),
            "skb [csum complete (0xabcd0123) len 1 priority 6]",
        ),
        (
            (*NO_VLAN, 1, 0, 0, 3, 0xABCD0123, 0, 6, *NO_DATAREF, *NO_GSO),
            "skb [csum partial (start 291 off 43981) len 1 priority 6]",
        ),
        ((*NO_VLAN, 1, 0, 0, 7, 0, 0, 6, *NO_DATAREF, *NO_GSO), "skb [csum unknown (7) len 1 priority 6]"),
        ((*NO_VLAN, *NO_META, 0, 0, 0, 2, 3, *NO_GSO), "skb [users 2 dataref 3]"),
        ((*NO_VLAN, *NO_META, *NO_DATAREF, 0, 0, 3, 0, 5), "gso [type 0x5 size 3]"),
        ((*NO_VLAN, *NO_META, *NO_DATAREF, 0, 0, 0, 0, 0), "gso [type 0x0 size 0]"),
        ((0x8100, 1, True, 5, *NO_META, *NO_DATAREF, *NO_GSO), None),
    ],
)
def test_skb(values: tuple[Any, ...], text: str | None) -> None:
    assert skb_text(STYLE, *values) == text


def test_the_vlan_tag_is_link_layer_data() -> None:
    rest = (*NO_META, 0, 0, 0, 2, 3, *NO_GSO)
    shown = skb_text(LINK_LAYER, 0x8100, 1, True, 5, *rest)
    assert shown == "vlan_accel (ethertype 802.1Q (0x8100) vlan 5 p 1 DEI) skb [users 2 dataref 3]"
    assert skb_text(LINK_LAYER, 0x1234, 0, False, 5, *rest) == (
        "vlan_accel (ethertype (0x1234) vlan 5 p 0) skb [users 2 dataref 3]"
    )
